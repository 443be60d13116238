#!/usr/bin/env python3
"""Runs clang-tidy over our own C files, as many at a time as there are processors.

    tidy.py ROOT BUILD      BUILD holds compile_commands.json

Generated files and files outside of ROOT are left out.  Each file is read once, by the first of its
compile commands: a second reading in one process misleads the analyzer's va_list checker.  Prints
clang-tidy's findings once each (a header is seen from many files).  Exit 1 when there is any.

BUILD/tidy.clean keeps a digest of each file in which nothing was found, taken over all that the
result depends on: the file, every header it reaches, its command, .clang-tidy, the version of
clang-tidy.  What still has its digest is not looked at again.
"""
import concurrent.futures
import functools
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

CLEAN = "tidy.clean"


def own_commands(root, build):
    """The first compile command of each of our files."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    built = os.path.join(root, "build") + "/"
    first = {}
    for command in commands:
        path = os.path.realpath(os.path.join(command["directory"], command["file"]))
        if path.startswith(root + "/") and not path.startswith(built):
            first.setdefault(path, {**command, "file": path})
    return dict(sorted(first.items()))


@functools.lru_cache(maxsize=None)
def digest_of(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def reads(command):
    """The files that a compile command reads, by the compiler's own word; None: it cannot say."""
    words = command.get("arguments") or shlex.split(command["command"])
    if "-o" in words:
        at = words.index("-o")
        words = words[:at] + words[at + 2:]
    run = subprocess.run([*words, "-M"], cwd=command["directory"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if run.returncode != 0:
        return None
    files = run.stdout.split(":", 1)[1].replace("\\\n", " ").split()
    return sorted(os.path.join(command["directory"], f) for f in files)


def command_digest(command, common):
    files = reads(command)
    if files is None:
        return None
    parts = [common, json.dumps(command, sort_keys=True), *files, *map(digest_of, files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def extra_arguments(root, path):
    words = ["--extra-arg=-Wno-unknown-warning-option"]
    header = os.path.join(root, "tests/house/analyzer.h")
    if os.path.exists(header) and not path.endswith("common/error.c"):
        words += ["--extra-arg=-include", f"--extra-arg={header}", f"--extra-arg=-I{root}"]
    return words


def tidy(root, database, path):
    """Findings in one file: (location, text) pairs, and the words of a failure to run at all."""
    command = ["clang-tidy", "-quiet", "-p", database, *extra_arguments(root, path), path]
    run = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = re.findall(r"^(\S+?:\d+:\d+): (?:warning|error): (.*)$", run.stdout, flags=re.M)
    broken = run.returncode != 0 and not found
    found = [f for f in found if f[0].startswith(root + "/")]
    return found, f"{path}: clang-tidy failed: {run.stderr.strip()}" if broken else None


def read_lines(path):
    if not os.path.exists(path):
        return set()
    with open(path, encoding="utf-8") as f:
        return set(f.read().split())


def common_digest(root):
    """Of what every result depends on."""
    version = subprocess.run(["clang-tidy", "--version"], text=True, stdout=subprocess.PIPE)
    used = [__file__] + [os.path.join(root, p) for p in (".clang-tidy", "tests/house/analyzer.h")]
    return version.stdout + "".join(digest_of(p) for p in used if os.path.exists(p))


def look(root, build, commands):
    """The lines to print, and how many files were known to be clean."""
    known = read_lines(os.path.join(build, CLEAN))
    common = common_digest(root)
    lines, clean, skipped = set(), set(), 0
    with tempfile.TemporaryDirectory() as database, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        with open(os.path.join(database, "compile_commands.json"), "w", encoding="utf-8") as f:
            json.dump(list(commands.values()), f)

        def one(path):
            digest = command_digest(commands[path], common)
            if digest in known:
                return digest, True, [], None
            return digest, False, *tidy(root, database, path)

        for digest, was_known, found, failure in pool.map(one, commands):
            lines |= {f"{os.path.relpath(where.split(':')[0], root)}:"
                      f"{':'.join(where.split(':')[1:])}: {what}" for where, what in found}
            if failure:
                lines.add(failure)
            if digest and not found and not failure:
                clean.add(digest)
            skipped += was_known
    with open(os.path.join(build, CLEAN), "w", encoding="utf-8") as f:
        f.write("\n".join(sorted(clean)) + "\n")
    return lines, skipped


def main(argv):
    if len(argv) != 3:
        print("usage: tidy.py ROOT BUILD", file=sys.stderr)
        return 64
    root, build = os.path.realpath(argv[1]), os.path.realpath(argv[2])
    commands = own_commands(root, build)
    lines, skipped = look(root, build, commands)
    said = f"tidy: {len(commands)} files, {skipped} of them as before, nothing found"
    print("\n".join(sorted(lines)) or said)
    return 1 if lines or not commands else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
