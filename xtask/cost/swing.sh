#!/usr/bin/env bash
# What a swinging working set costs: CPU time of the rounds of swing.c on hz3, on hz3 with policy off,
# and on the allocators given, runs interleaved, medians. Writes a Markdown table.
# usage: swing.sh RUNS LIBHZ3 [NAME=LIBRARY ...]
set -euo pipefail
runs=$1 hz3=$2
shift 2
program=$(mktemp -d)/swing
gcc -O2 -fno-builtin "$(dirname "$0")/swing.c" -o "$program"
names=(hz3 "hz3, policy off" glibc)
declare -A library=([hz3]=$hz3 ["hz3, policy off"]=$hz3 [glibc]='')
for peer in "$@"; do
    names+=("${peer%%=*}")
    library[${peer%%=*}]=${peer#*=}
done
echo "CPU: $(awk -F': ' '/^(vendor_id|cpu family|model|stepping)\t/ {printf "%s ", $2} /^$/ {exit}' /proc/cpuinfo)"
echo "Load at the start: $(cut -d' ' -f1 /proc/loadavg)."
for size in 64 1024; do
    rounds=6
    printf '\n%s MiB, milliseconds of CPU time a round, medians of %s runs:\n\n' "$size" "$runs"
    printf '| allocator |'; for ((r = 1; r <= rounds; r++)); do printf ' %s |' $r; done
    printf '\n|---|'; for ((r = 1; r <= rounds; r++)); do printf -- '---:|'; done; printf '\n'
    results=$(mktemp)
    for ((run = 0; run < runs; run++)); do
        for name in "${names[@]}"; do
            policy=default
            [[ $name != *off ]] || policy=off
            printf '%s\t%s\n' "$name" "$(HZ3_POLICY=$policy LD_PRELOAD=${library[$name]} "$program" "$size" "$rounds")" >>"$results"
        done
    done
    for name in "${names[@]}"; do
        printf '| %s |' "$name"
        for ((r = 1; r <= rounds; r++)); do
            awk -F'\t' -v name="$name" -v r="$r" '$1 == name {split($2, all, " "); print all[r]}' "$results" |
                sort -n | awk '{all[NR] = $1} END {printf " %.0f |", all[int((NR + 1) / 2)]}'
        done
        printf '\n'
    done
done
