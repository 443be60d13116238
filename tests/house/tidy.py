#!/usr/bin/env python3
"""Runs clang-tidy over our own C files, as many at a time as there are processors.

    tidy.py ROOT BUILD      BUILD holds compile_commands.json

Generated files and files outside of ROOT are left out.  Prints clang-tidy's findings once each
(a header is seen from many files).  Exit 1 when there is any.
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys


def own_files(root, build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    files = {os.path.realpath(os.path.join(c["directory"], c["file"])) for c in commands}
    built = os.path.join(root, "build") + "/"
    return sorted(f for f in files if f.startswith(root + "/") and not f.startswith(built))


def tidy(root, build, path):
    """Findings in one file: (location, text) pairs, and the words of a failure to run at all."""
    command = ["clang-tidy", "-quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option"]
    header = os.path.join(root, "tests/house/analyzer.h")
    if os.path.exists(header) and not path.endswith("common/error.c"):
        command += ["--extra-arg=-include", f"--extra-arg={header}", f"--extra-arg=-I{root}"]
    command.append(path)
    run = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = re.findall(r"^(\S+?:\d+:\d+): (?:warning|error): (.*)$", run.stdout, flags=re.M)
    broken = run.returncode != 0 and not found
    found = [f for f in found if f[0].startswith(root + "/")]
    return found, f"{path}: clang-tidy failed: {run.stderr.strip()}" if broken else None


def main(argv):
    if len(argv) != 3:
        print("usage: tidy.py ROOT BUILD", file=sys.stderr)
        return 64
    root, build = os.path.realpath(argv[1]), os.path.realpath(argv[2])
    files = own_files(root, build)
    lines = set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, failure in pool.map(lambda f: tidy(root, build, f), files):
            lines |= {f"{os.path.relpath(where.split(':')[0], root)}:"
                      f"{':'.join(where.split(':')[1:])}: {what}" for where, what in found}
            if failure:
                lines.add(failure)
    print("\n".join(sorted(lines)) or f"tidy: {len(files)} files, nothing found")
    return 1 if lines or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
