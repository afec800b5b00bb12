#!/usr/bin/env python3
"""Rust programs with their global allocator: wall time, CPU time, faults and peak resident set.

Build first, from the root of the repository:
    cargo build --release --examples --manifest-path crates/hz3-peers/Cargo.toml --target-dir target
Then: rust.py [ROUNDS [DIRECTORY]]. Every round runs all jobs on all allocators in an order drawn anew.
"""
import os, pathlib, random, statistics, subprocess, sys, time
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
root = pathlib.Path(__file__).resolve().parents[3]
directory = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else root / "target/release/examples"
jobs = ["json", "map", "fan-out"]
allocators = ["hz3", "mimalloc", "jemalloc", "snmalloc", "system"]
trials = {(job, name): [] for job in jobs for name in allocators}
answers = {}
for _ in range(rounds):
    order = list(trials)
    random.shuffle(order)
    for job, name in order:
        start = time.monotonic()
        child = subprocess.Popen([directory / f"program_{name}", job], stdout=subprocess.PIPE)
        answer = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = status
        assert status == 0 and answers.setdefault(job, answer) == answer, (job, name, status, answer)
        trials[job, name].append((wall * 1e3, usage.ru_utime * 1e3, usage.ru_stime * 1e3, usage.ru_minflt, usage.ru_maxrss / 1024))
print("| job | allocator | wall ms (lowest, highest) | user ms | system ms | faults | peak MiB |\n|---|---|---|---|---|---|---|")
for (job, name), rows in trials.items():
    wall, user, system, faults, peak = (statistics.median(column) for column in zip(*rows))
    low, high = min(row[0] for row in rows), max(row[0] for row in rows)
    print(f"| {job} | {name} | {wall:.0f} ({low:.0f}, {high:.0f}) | {user:.0f} | {system:.0f} | {faults:,.0f} | {peak:.0f} |")
