#!/usr/bin/env python3
"""Feeds each check of house.py, tidy.py and symbols.py a planted violation; it must be seen.

A small clean tree must pass every check; each case then changes one file in it and must be refused
by the check it is for, at the line named.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))

CLEAN = {
    "README.md": "A tree.\n",
    "common/README.md": "The leaf.\n",
    "common/error.h": "/* Errors. */\nint rk_fail(void);\n",
    "coordinator/README.md": "Decides.\n",
    "coordinator/server.h": '/* The shell. */\n#include "common/error.h"\n',
    "coordinator/core/README.md": "Pure.\n",
    "coordinator/core/core.h": '/* The mind. */\n#include "common/error.h"\n',
    "launch/README.md": "Starts.\n",
    "launch/main.c": '/* The command line. */\n#include "coordinator/server.h"\n',
    "launch/go": "#!/usr/bin/env bash\n# Goes.\necho gone\n",
}

BODY = "".join(f"    x += {n};\n" for n in range(120))
UNFINISHED = "TO" + "DO"
PLACE = "/wo" + "rk/here"

# check, file, its new text, the line that must be named, a word of what must be said
PLANTED = [
    ("arrows", "common/log.c", '/* Log. */\n#include "worker/agent.h"\n', 2, "may not include"),
    ("arrows", "coordinator/core/a.c", '/* A. */\n#include "common/log.h"\n', 2, "may not include"),
    ("arrows", "worker/reknit.h", '/* Public. */\n#include "common/id.h"\n', 2, "may not include"),
    ("arrows", "examples/e.c", '/* E. */\n#include "common/error.h"\n', 2, "may not include"),
    ("arrows", "collectives/c.c", '/* C. */\n#include "worker/a.h"\n', 2, "may not include"),
    ("arrows", "launch/x.c", '/* X. */\n#include "coordinator/core/core.h"\n', 1, "sees"),
    ("arrows", "coordinator/server.h", '/* S. */\n#include "coordinator/core/core.h"\n', 1,
     "sees coordinator/core through coordinator/server.h"),
    ("arrows", "launch/y.c", '/* Y. */\n#include "commands.h"\n', 2, "tree's root"),
    ("arrows", "elsewhere/z.c", "/* Z. */\n", 1, "no folder of the house"),
    ("sources", "coordinator/core/a.c", "/* A. */\nlong a = rk_clock_now();\n", 2, "rk_clock_now"),
    ("sources", "launch/main.c", "/* M. */\n\nint a = time(0);\n", 3, "time()"),
    ("sources", "worker/w.c", "/* W. */\nint a = rand();\n", 2, "rand()"),
    ("sources", "common/b.c", '/* B. */\nchar *a = getenv("A");\n', 2, "getenv()"),
    ("functions", "launch/main.c", "/* M. */\nint f(int x)\n{\n" + BODY + "}\n", 2, "lines"),
    ("sizes", "launch/main.c", "/* M. */\n" + "int a;\n" * 1001, 1000, "split"),
    ("sizes", "launch/main.c", "/* M. */\n/* " + "m" * 100 + " */\n", 2, "columns"),
    ("sizes", "launch/go", "#!/bin/sh\n# Goes. \n", 2, "end of the line"),
    ("format", "launch/main.c", "/* M. */\nint   a;\n", 2, "clang-format"),
    ("words", "launch/main.c", f"/* M.\n * {UNFINISHED} */\n", 2, "unfinished"),
    ("words", "README.md", f"See {PLACE}.\n", 1, "one machine"),
    ("readmes", "examples/e.c", "/* E. */\n", 1, "README.md"),
    ("openings", "launch/main.c", "int a;\n", 1, "open"),
    ("openings", "launch/go", "#!/bin/sh\necho\n", 1, "open"),
    ("scripts", "launch/go", "#!/bin/bash\n# Goes.\nif\n", 1, "parse"),
    ("scripts", "launch/a.py", '"""A."""\ndef\n', 2, "parse"),
]


def write_tree(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)
        if text.startswith("#!"):
            os.chmod(full, 0o755)


def run(script, *arguments):
    command = [sys.executable, os.path.join(HERE, script), *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


class SelfTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        write_tree(self.root, CLEAN)
        with open(os.path.join(HERE, "..", "..", ".clang-format"), encoding="utf-8") as f:
            write_tree(self.root, {".clang-format": f.read()})

    def test_clean_tree_passes(self):
        code, said = run("house.py", "all", self.root)
        self.assertEqual(code, 0, said)

    def test_planted_violations_are_seen(self):
        for check, path, text, line, word in PLANTED:
            with self.subTest(check=check, path=path, word=word):
                write_tree(self.root, {path: text})
                code, said = run("house.py", check, self.root)
                self.assertEqual(code, 1, said)
                named = [w for w in said.splitlines() if word in w]
                self.assertTrue(any(f":{line}: " in w for w in named), said)
                os.unlink(os.path.join(self.root, path))
                write_tree(self.root, {p: t for p, t in CLEAN.items() if p == path})

    def test_not_executable_script_is_seen(self):
        os.chmod(os.path.join(self.root, "launch/go"), 0o644)
        code, said = run("house.py", "scripts", self.root)
        self.assertEqual(code, 1, said)

    def test_tidy_sees_a_bug(self):
        source = os.path.join(self.root, "launch/main.c")
        good = '/* M. */\n#include "launch/n.h"\nint f(int *p)\n{\n    return p ? 1 : N;\n}\n'
        write_tree(self.root, {"launch/main.c": good, "launch/n.h": "/* N. */\n#define N 1\n"})
        with open(os.path.join(HERE, "..", "..", ".clang-tidy"), encoding="utf-8") as f:
            write_tree(self.root, {".clang-tidy": f.read()})
        words = ["cc", f"-I{self.root}", "-c", source]
        command = [{"directory": self.root, "file": source, "arguments": words}]
        write_tree(self.root, {"b/compile_commands.json": json.dumps(command)})
        for known in (0, 1):  # the second time by its digest
            code, said = run("tidy.py", self.root, os.path.join(self.root, "b"))
            self.assertEqual(code, 0, said)
            self.assertIn(f"{known} of them as before", said)
        write_tree(self.root, {"launch/n.h": "/* N. */\n#define N *p\n"})
        for _ in range(2):  # a finding is not forgotten
            code, said = run("tidy.py", self.root, os.path.join(self.root, "b"))
            self.assertEqual(code, 1, said)
            self.assertIn("launch/main.c:5", said)

    def archive(self, name, text):
        write_tree(self.root, {f"b/{name}.c": text})
        folder = os.path.join(self.root, "b")
        subprocess.run(["cc", "-c", f"{name}.c", "-o", f"{name}.o"], cwd=folder, check=True)
        subprocess.run(["ar", "rc", f"lib{name}.a", f"{name}.o"], cwd=folder, check=True)
        os.unlink(os.path.join(folder, f"{name}.o"))

    def test_symbols_sees_a_name_defined_twice(self):
        self.archive("one", "int place_find(void) { return 1; }\nstatic int x;\nint *a = &x;\n")
        self.archive("two", "int seat_find(void) { return 2; }\nstatic int x;\nint *b = &x;\n")
        code, said = run("symbols.py", self.root)
        self.assertEqual(code, 0, said)
        self.archive("two", "int place_find(void) { return 2; }\n")
        code, said = run("symbols.py", self.root)
        self.assertEqual(code, 1, said)
        self.assertIn("place_find: defined in libone.a(one.o), libtwo.a(two.o)", said)

    def test_symbols_wants_libraries(self):
        code, said = run("symbols.py", os.path.join(self.root, "common"))
        self.assertEqual(code, 1, said)


if __name__ == "__main__":
    unittest.main()
