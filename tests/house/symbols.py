#!/usr/bin/env python3
"""No global symbol is defined twice among the static libraries of a build.

    symbols.py BUILD        looks at every .a file under BUILD

They are linked into one program, where the linker would silently take whichever comes first, or
refuse, according to which members it happens to need.  Exit 1 when any is defined twice.
"""
import os
import subprocess
import sys

MAY_REPEAT = "vVwWuU"  # weak, unique and undefined symbols


def archives(build):
    for folder, folders, names in os.walk(build):
        folders[:] = [f for f in folders if f != "CMakeFiles"]
        yield from (os.path.join(folder, n) for n in sorted(names) if n.endswith(".a"))


def symbols_of(archive):
    """(symbol, member) of each strong global definition in an archive."""
    run = subprocess.run(["nm", "--extern-only", "--defined-only", "--print-file-name", archive],
                         text=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in run.stdout.splitlines():
        words = line.split()  # ARCHIVE:MEMBER:ADDRESS TYPE NAME
        if len(words) == 3 and words[1] not in MAY_REPEAT:
            yield words[2], words[0].rsplit(":", 1)[0].rsplit(":", 1)[-1]


def main(argv):
    if len(argv) != 2:
        print("usage: symbols.py BUILD", file=sys.stderr)
        return 64
    found = sorted(archives(argv[1]))
    homes = {}
    for archive in found:
        for symbol, member in symbols_of(archive):
            where = f"{os.path.basename(archive)}({member})"
            homes.setdefault(symbol, []).append(where)
    twice = {s: where for s, where in sorted(homes.items()) if len(where) > 1}
    for symbol, where in twice.items():
        print(f"{symbol}: defined in {', '.join(where)}; rename one after its object, or make "
              "it static")
    if not homes:
        print(f"symbols: no static library with symbols under {argv[1]}; build first")
    elif not twice:
        print(f"symbols: {len(homes)} in {len(found)} libraries, none twice")
    return 1 if twice or not homes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
