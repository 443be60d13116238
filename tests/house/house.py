#!/usr/bin/env python3
"""The rules of the house, each as a check over the tree.

    house.py CHECK ROOT     CHECK is one of the functions named check_* below, without the prefix
    house.py all ROOT

Prints one line for each violation: file:line, what is wrong, what to do.  Exit 1 when there is any.
Exceptions stand in rules.py, each with its reason.
"""
import json
import os
import re
import subprocess
import sys

import rules

C_FILES = (".c", ".h")
CODE_FILES = (".c", ".h", ".py", ".proto", ".cmake", ".sh")
TEXT_FILES = CODE_FILES + (".md", ".txt", ".json", ".yaml", ".yml", "")
SKIPPED_FOLDERS = {"build", "__pycache__", "node_modules"}
KEPT_DOT_FOLDERS = {".ci"}
OPENING = "does not open with a comment that says what the file is for"


class Tree:
    """The files of a working tree, read once, and the violations found in them."""

    def __init__(self, root):
        self.root = os.path.realpath(root)
        self.paths = sorted(self._walk())
        self.texts = {}
        self.found = []

    def _walk(self):
        for folder, folders, names in os.walk(self.root):
            folders[:] = [
                f
                for f in folders
                if f not in SKIPPED_FOLDERS and (not f.startswith(".") or f in KEPT_DOT_FOLDERS)
            ]
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def of_kind(self, endings):
        return [p for p in self.paths if os.path.splitext(p)[1] in endings]

    def text(self, path):
        if path not in self.texts:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as f:
                self.texts[path] = f.read()
        return self.texts[path]

    def scripts(self):
        """Files that start with #!, with the name of what runs them."""
        for path in self.of_kind((".sh", ".py", "")):
            match = re.match(r"#!.*?(\w+)\s*$", self.text(path).split("\n", 1)[0])
            if match:
                yield path, match.group(1)

    def code(self):
        scripts = {path for path, _ in self.scripts()}
        lists = {p for p in self.paths if os.path.basename(p) == "CMakeLists.txt"}
        return sorted(set(self.of_kind(CODE_FILES)) | scripts | lists)

    def fail(self, path, line, what):
        self.found.append(f"{path}:{line}: {what}")


def strip_c(text):
    """C text without comments and string contents, line numbers kept."""

    def blank(match):
        piece = match.group(0)
        if piece.startswith("/"):
            return "\n" * piece.count("\n") + " "
        return piece[0] + piece[0]

    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.S)


def includes_of(tree, path):
    """(line, file) of each #include "..." in a file."""
    for number, line in enumerate(tree.text(path).split("\n"), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if match:
            yield number, match.group(1)


def zone_of(path):
    """The first zone of rules.ARROWS that a file belongs to."""
    for zone, _ in rules.ARROWS:
        if path == zone or path.startswith(zone + "/"):
            return zone
    return None


def matches(path, prefixes):
    return any(path == p or path.startswith(p.rstrip("/") + "/") for p in prefixes)


def check_arrows(tree):
    """Who includes whom (DESIGN: the house), directly and through other headers."""
    allowed = dict(rules.ARROWS)
    for path in tree.of_kind(C_FILES):
        zone = zone_of(path)
        if zone is None:
            tree.fail(path, 1, "belongs to no folder of the house; add it to ARROWS in rules.py")
            continue
        for line, target in includes_of(tree, path):
            if "/" not in target:
                tree.fail(path, line, f'"{target}": include from the tree\'s root, "folder/file.h"')
            elif not matches(target, allowed[zone]):
                sight = ", ".join(allowed[zone]) or "nothing of ours"
                tree.fail(path, line, f'{zone} may not include "{target}"; it may see {sight}')
        never = rules.NEVER_REACHED
        for prefix in never.get(zone, never.get(path.split("/")[0], ())):
            chain = reach(tree, path, prefix)
            if chain:
                way = " -> ".join(chain)
                tree.fail(path, 1, f"sees {prefix} through {way}; declare the struct instead")


def reach(tree, path, prefix, seen=None):
    """A chain of includes from `path` to a file under `prefix`, or None."""
    seen = set() if seen is None else seen
    for _, target in includes_of(tree, path):
        if matches(target, [prefix]):
            return [target]
        if target in tree.paths and target not in seen:
            seen.add(target)
            chain = reach(tree, target, prefix, seen)
            if chain:
                return [target] + chain
    return None


def check_sources(tree):
    """Clocks, random sources and the environment are asked only where rules.py says."""
    for kind, (where, pattern, allowed) in rules.SOURCES.items():
        call = re.compile(r"(?<![\w.>])(" + pattern + r")\s*\(")
        for path in tree.of_kind(C_FILES):
            if matches(path, allowed) or (where and not matches(path, [where])):
                continue
            for number, line in enumerate(strip_c(tree.text(path)).split("\n"), 1):
                match = call.search(line)
                if match:
                    what = f"{match.group(1)}(): only files named in rules.py ask the {kind}"
                    tree.fail(path, number, what + "; pass its value in instead")


def check_functions(tree):
    """No function over 100 lines, but the tables and flat switches named in rules.py."""
    files = tree.of_kind((".c", ".h", ".py"))
    if not files:
        return
    command = ["ctags", "--output-format=json", "--fields=+neK", "--kinds-C=f", "--kinds-Python=fm",
               "-f", "-", "-L", "-"]
    run = subprocess.run(command, input="\n".join(files), cwd=tree.root, text=True, check=True,
                         stdout=subprocess.PIPE)
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        length = tag.get("end", tag["line"]) - tag["line"] + 1
        name = tag["path"] + ":" + tag["name"]
        if length > rules.FUNCTION_LINES and name not in rules.LONG_FUNCTIONS:
            what = f"{tag['name']} has {length} lines, {rules.FUNCTION_LINES} are allowed"
            tree.fail(tag["path"], tag["line"], what + "; cut it where you would say 'then'")


def check_sizes(tree):
    """No file over 1,000 lines, no line over 100 columns, no tabs, no spaces at the end."""
    for path in tree.code():
        lines = tree.text(path).split("\n")
        if len(lines) > rules.FILE_LINES:
            tree.fail(path, rules.FILE_LINES, f"{len(lines)} lines in the file; split it")
        for number, line in enumerate(lines, 1):
            if len(line) > rules.COLUMNS:
                tree.fail(path, number, f"{len(line)} columns, {rules.COLUMNS} are allowed")
            if line != line.rstrip() or "\t" in line:
                tree.fail(path, number, "a tab, or space at the end of the line")
        if lines[-1] != "":
            tree.fail(path, len(lines), "no newline at the end of the file")


def check_format(tree):
    """clang-format would change nothing."""
    files = tree.of_kind(C_FILES)
    if not files:
        return
    run = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *files], cwd=tree.root,
                         text=True, stderr=subprocess.PIPE)
    seen = set()
    for match in re.finditer(r"^(\S+?):(\d+):\d+: error:", run.stderr, flags=re.M):
        if match.group(1) not in seen:
            seen.add(match.group(1))
            path = match.group(1)
            tree.fail(path, match.group(2), f"not formatted; run clang-format-14 -i {path}")
    if run.returncode != 0 and not seen:
        tree.fail("tests/house/house.py", 1, f"clang-format failed: {run.stderr.strip()}")


def check_words(tree):
    """No unfinished work, no paths of one machine."""
    for path in tree.of_kind(TEXT_FILES):
        if path in rules.WORDS_EXEMPT:
            continue
        for number, line in enumerate(tree.text(path).split("\n"), 1):
            for pattern, what in rules.WORDS:
                if re.search(pattern, line):
                    tree.fail(path, number, what)


def check_readmes(tree):
    """Each folder that holds files says in a README.md what lives there."""
    folders = {os.path.dirname(p) for p in tree.paths}
    for folder in sorted(folders):
        if matches(folder, rules.WITHOUT_README):
            continue
        if os.path.join(folder, "README.md") not in tree.paths:
            what = "no README.md; say in a few lines what lives here and who may include it"
            tree.fail(folder or ".", 1, what)


def check_openings(tree):
    """The first comment of a file says what it is for."""
    for path in tree.code():
        text = tree.text(path)
        if path.endswith(C_FILES) and not text.startswith("/*"):
            tree.fail(path, 1, OPENING)
        elif not path.endswith(C_FILES):
            body = re.sub(r"\A#![^\n]*\n", "", text)
            if not re.match(r'(#|"""|//|/\*|cmake_minimum_required)', body):
                tree.fail(path, 1, OPENING)


def check_scripts(tree):
    """Scripts parse, and can be executed."""
    for path, runner in tree.scripts():
        full = os.path.join(tree.root, path)
        if not os.access(full, os.X_OK):
            tree.fail(path, 1, "starts with #! and is not executable; run chmod +x")
        if runner in ("bash", "sh"):
            run = subprocess.run([runner, "-n", full], text=True, stderr=subprocess.PIPE)
            if run.returncode != 0:
                tree.fail(path, 1, f"does not parse: {run.stderr.strip()}")
    for path in tree.of_kind((".py",)):
        try:
            compile(tree.text(path), path, "exec")
        except SyntaxError as error:
            tree.fail(path, error.lineno, f"does not parse: {error.msg}")


CHECKS = {name[6:]: value for name, value in list(globals().items()) if name.startswith("check_")}


def main(argv):
    if len(argv) != 3 or argv[1] not in (*CHECKS, "all"):
        print(f"usage: house.py {'|'.join((*CHECKS, 'all'))} ROOT", file=sys.stderr)
        return 64
    tree = Tree(argv[2])
    if not tree.paths:
        print(f"house: no files in {argv[2]}", file=sys.stderr)
        return 64
    for name in CHECKS if argv[1] == "all" else [argv[1]]:
        CHECKS[name](tree)
    print("\n".join(tree.found) or f"house: {argv[1]}: {len(tree.paths)} files, nothing found")
    return 1 if tree.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
