#!/bin/sh
# Measures the experiments of docs/experiments/README.md again: each policy against `off` and against
# the default, ten rounds of S59-2 and of 16 threads with 90 % of the frees by another thread.
#
#   docs/experiments/replay.sh [--short]
#
# --short: idle times of 3 s and 400,000 turns a thread instead of 10 s and 2,000,000.
# Results: target/experiments, one page and one record an experiment, and README.md with all verdicts.
set -eu
cd "$(dirname "$0")/../.."

burst='burst-idle 200000 10 3 0 4'
remote='remote 16 2000000 400 16 2048 90'
case "${1-}" in
'') ;;
--short)
    burst='burst-idle 200000 3 3 0 4'
    remote='remote 16 400000 400 16 2048 90'
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

cargo build --release --package hz3-c --package hz3-lab
mkdir -p target/experiments target/replay
for policy in s57b2 s58 s60 s61 s62 s64 s64-p1a s64-p1b s64-p1c; do
    for baseline in off default; do
        name="$policy-against-$baseline"
        if [ -e "target/experiments/$name.json" ]; then
            echo "$name: measured already; remove target/experiments/$name.json to repeat it"
            continue
        fi
        status=0
        target/release/hz3 ab --baseline "$baseline" --candidate "$policy" --quick --rounds 10 \
            -w "$burst" -w "$remote" --record "$name" --log target/experiments \
            --out "target/replay/$name.json" --force || status=$?
        # 0, 1, 3 and 4 are verdicts.
        case $status in
        0 | 1 | 3 | 4) ;;
        *) exit "$status" ;;
        esac
    done
done
echo 'All verdicts: target/experiments/README.md'
