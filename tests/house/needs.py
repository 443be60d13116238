#!/usr/bin/env python3
"""What user programs link needs libc only, whatever was found when it was built.

    needs.py BUILD        looks at lib/libreknit.so under BUILD

Exit 1 when it names another library, or leaves a symbol that libc does not have.
"""
import os
import re
import subprocess
import sys

LIBC = re.compile(r"libc\.so|ld-linux|libpthread\.so|libdl\.so|librt\.so")


def output(*command):
    return subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout


def main(argv):
    if len(argv) != 2:
        print("usage: needs.py BUILD", file=sys.stderr)
        return 64
    library = os.path.join(argv[1], "lib", "libreknit.so")
    needed = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", library))
    faults = [f"it needs {name}" for name in needed if not LIBC.match(name)]
    for line in output("nm", "-D", "--undefined-only", library).splitlines():
        kind, name = line.split()
        if kind == "U" and "@GLIBC" not in name:
            faults.append(f"{name} is of no library that it needs")
    print("\n".join(f"libreknit.so: {fault}; load it by dlopen" for fault in faults) or
          f"needs: libreknit.so needs {', '.join(needed)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
