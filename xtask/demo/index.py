"""A real job for the demo: build a search index of Python's own library, query it, drop it.

It allocates in the way programs do: millions of small objects, some large strings, a peak, and then
a much smaller heap that lives on.
"""

import collections
import io
import pathlib
import re
import sysconfig
import tokenize
import zlib


def documents():
    """Every module of the standard library, as text."""
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        if "site-packages" in path.parts or "dist-packages" in path.parts or "test" in path.parts:
            continue
        yield str(path.relative_to(library)), path.read_text(encoding="utf-8", errors="replace")


def names(text):
    """The names in a module, with the lines they stand on."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME and len(token.string) > 3:
                yield token.string, token.start[0], token.line.strip()
    except (tokenize.TokenError, SyntaxError):
        for number, line in enumerate(text.splitlines(), 1):
            for word in re.findall(r"[A-Za-z_]\w{3,}", line):
                yield word, number, line.strip()


def index():
    places = collections.defaultdict(list)
    packed = {}
    for module, text in documents():
        packed[module] = zlib.compress(text.encode())
        for name, line, context in names(text):
            places[name].append((module, line, context))
    return places, packed


def main():
    places, packed = index()
    entries = sum(len(found) for found in places.values())
    common = sorted(places, key=lambda name: (-len(places[name]), name))[:5]
    print(f"{len(packed)} modules, {len(places)} names, {entries} places")
    print("most used:", ", ".join(f"{name} {len(places[name])}" for name in common))
    # The index goes; what it found in one module stays.
    kept = {name: found[:1] for name, found in places.items() if found[0][0].startswith("json")}
    places.clear()
    packed.clear()
    print(f"kept {len(kept)} names of json")


if __name__ == "__main__":
    main()
