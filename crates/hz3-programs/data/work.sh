# Work for the end-to-end test: arrays, strings, subshells, pipes, and tools that sort and pack with threads.
# Prints only what does not depend on timing or addresses.
set -euo pipefail
corpus=$1

# The shell's own memory: an associative array, strings that grow, patterns.
declare -A count
while read -r first second _; do
    count[$first]=$((${count[$first]:-0} + 1))
    count[$second]=$((${count[$second]:-0} + 1))
done < <(head -n 4000 "$corpus")
total=0
for word in "${!count[@]}"; do total=$((total + count[$word])); done
echo "words ${#count[@]} total $total"

text=
for i in {1..3000}; do text+="$i:${i//1/one} "; done
echo "text ${#text} $(printf %s "${text//one/1}" | md5sum)"

# Short processes and nested subshells.
for i in {1..60}; do
    (
        part=$(sed -n "$((i * 10)),$((i * 10 + 5))p" "$corpus" | tr a-z n-za-m | rev)
        echo "part $i $(printf %s "$part" | cksum)"
    )
done

# Tools that work hard.
tr ' ' '\n' <"$corpus" | sort --parallel=2 --buffer-size=4M | uniq -c | sort -k1,1nr -k2 | sed -n 1,20p
awk '{ for (i = 1; i <= NF; i++) { n[$i]++; l[length($i)] = l[length($i)] " " NR % 7 } } END { for (k in n) s += n[k] * length(k); for (k in l) t += length(l[k]); print "awk", s, t }' "$corpus"
xz --threads=2 --block-size=1MiB -1 --stdout "$corpus" >packed.xz
xz --decompress --threads=2 --stdout packed.xz | cmp - "$corpus"
gzip -9 --stdout "$corpus" | gunzip | md5sum
tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner "$corpus" work.sh | tar --list --verbose
split --lines=500 "$corpus" piece.
cat piece.* | cmp - "$corpus"
find . -name 'piece.*' -print0 | sort -z | xargs -0 -n 5 md5sum
diff <(sort "$corpus") <(sort --parallel=2 --reverse "$corpus" | tac) && echo "sorted alike"

# Jobs in the background.
for i in 1 2 3 4; do
    { awk -v n="$i" 'NR % 4 == n % 4 { c += length($0) } END { print "job", n, c }' "$corpus" >"job.$i"; } &
done
wait
cat job.[1-4]
