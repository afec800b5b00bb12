#!/bin/sh
# A Redis server on the preloaded allocator, with its client on the system's.
port=$((20000 + $$ % 20000))
directory=$(mktemp -d)
redis-server --port "$port" --save "" --appendonly no --dir "$directory" >/dev/null &
server=$!
unset LD_PRELOAD
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.02; done
redis-benchmark -p "$port" -P 16 -d 512 -r 200000 -n 150000 -c 20 -q -t set,get,lpush >/dev/null
status=$?
redis-cli -p "$port" shutdown nosave >/dev/null 2>&1
wait "$server"
rm -rf "$directory"
exit "$status"
