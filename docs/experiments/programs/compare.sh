#!/bin/sh
# Whole programs on several allocators: wall time and peak resident set. Arguments go to
# `hz3 compare`, for example: compare.sh --rounds 6 -a glibc -a hz3 -a jemalloc
here=$(cd "$(dirname "$0")" && pwd)
exec "${HZ3:-$here/../../../target/release/hz3}" compare "$@" \
    --command "env PYTHONMALLOC=malloc /usr/bin/python3 '$here/job.py'" \
    --command "sh -c 'exec sqlite3 :memory: < \"$here/job.sql\"'" \
    --command "g++ -std=c++17 -O0 -c '$here/job.cpp' -o '${TMPDIR:-/tmp}/hz3-job.o'" \
    --command "'$here/redis.sh'"
