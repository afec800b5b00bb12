"""Work for the end-to-end test: many objects, big buffers, C extensions, threads and processes.

Prints only what does not depend on timing or addresses.
"""

import ctypes
import hashlib
import json
import multiprocessing
import pickle
import re
import sqlite3
import sys
import threading
import xml.etree.ElementTree as ElementTree
import zlib


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def words(text):
    counts = {}
    for word in re.findall(r"[a-z]+", text):
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def documents(text):
    records = [
        {"id": i, "line": line, "words": line.split(), "length": len(line)}
        for i, line in enumerate(text.splitlines())
    ]
    again = pickle.loads(pickle.dumps(json.loads(json.dumps(records))))
    assert again == records
    return digest(again[::7])


def buffers():
    """Buffers of 1 byte to 8 MiB that grow, shrink and go."""
    seen = zlib.crc32(b"")
    for shift in range(24):
        buffer = bytearray(1 << shift)
        buffer[-1] = shift
        buffer.extend(b"x" * (1 << shift))
        del buffer[: len(buffer) // 3]
        packed = zlib.compress(bytes(buffer), 1)
        assert zlib.decompress(packed) == buffer
        seen = zlib.crc32(packed, seen)
    return seen


def tree(text):
    root = ElementTree.Element("corpus")
    for i, line in enumerate(text.splitlines()[:3000]):
        node = ElementTree.SubElement(root, "line", number=str(i))
        node.text = line
    parsed = ElementTree.fromstring(ElementTree.tostring(root))
    return digest([node.text for node in parsed.iter("line")][::11])


def table(text):
    base = sqlite3.connect(":memory:")
    base.execute("create table line (id integer primary key, body text)")
    base.executemany("insert into line (body) values (?)", [(line,) for line in text.splitlines()])
    base.execute("create index by_body on line (body)")
    return base.execute("select count(*), sum(length(body)), max(body) from line").fetchone()


def threads(text):
    """Each thread makes objects that another thread frees."""
    lines = text.splitlines()
    out = [None] * 8
    handed = [None] * 8
    barrier = threading.Barrier(8)

    def work(me):
        handed[me] = [line.upper().split() for line in lines[me::8] for _ in range(3)]
        barrier.wait()
        mine = handed[(me + 1) % 8]
        out[me] = digest([len(item) for item in mine])
        barrier.wait()
        handed[(me + 1) % 8] = None

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return out


def short_threads():
    """Many threads that live for a moment."""
    total = []
    for _ in range(20):
        batch = [threading.Thread(target=lambda i=i: total.append(len([0] * i))) for i in range(50)]
        for thread in batch:
            thread.start()
        for thread in batch:
            thread.join()
    return len(total), sum(total)


def in_process(chunk):
    return digest(words(chunk)[:50])


def processes(text):
    """Forked workers: each goes on with the heap that its parent had."""
    size = len(text) // 6
    chunks = [text[i * size : (i + 1) * size] for i in range(6)]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        return pool.map(in_process, chunks)


def direct():
    """malloc, realloc and free through ctypes: what the program itself is bound to."""
    libc = ctypes.CDLL(None)
    for name in ("malloc", "calloc", "realloc"):
        getattr(libc, name).restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
    libc.malloc_usable_size.restype = ctypes.c_size_t
    kept = 0
    for size in [1, 15, 16, 17, 100, 4095, 4096, 4097, 70_000, 3_000_000]:
        block = libc.malloc(size)
        # Blocks smaller than 16 bytes may be aligned to less: nothing in them can need more.
        assert block and (size < 16 or block % 16 == 0)
        assert libc.malloc_usable_size(block) >= size
        ctypes.memset(block, size % 251, size)
        block = libc.realloc(block, size * 3)
        kept += sum(ctypes.string_at(block, size)) == (size % 251) * size
        libc.free(block)
        zeroed = libc.calloc(size, 2)
        assert not any(ctypes.string_at(zeroed, size * 2))
        libc.free(zeroed)
    return kept


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    counted = words(text)
    print("words", len(counted), counted[:3], digest(counted))
    print("documents", documents(text))
    print("buffers", buffers())
    print("tree", tree(text))
    print("table", table(text))
    print("threads", threads(text))
    print("short threads", short_threads())
    print("processes", processes(text))
    print("direct", direct())
    print("threads again", threads(text))


if __name__ == "__main__":
    main()
