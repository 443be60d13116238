#!/usr/bin/env python3
"""`reknit validate` as people use it: what it says about wrong manifests, that it is content with
right ones, its exit codes, its JSON.

    validate_test.py REKNIT      the program to try

bad/NAME.txt is what must be said about bad/NAME.yaml; with REKNIT_GOLDEN=write the test writes it.
Every manifest in the folder named by MANIFESTS must pass, where that is set.
"""
import json
import os
import pty
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
REKNIT = sys.argv[1] if len(sys.argv) > 1 else "reknit"
ENDINGS = (".yaml", ".yml", ".json")


def manifests(folder):
    """The paths of a folder's manifests, in order."""
    return sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(ENDINGS))


def validate(*words, text=None, cwd=HERE):
    """Runs the command; both streams are text."""
    return subprocess.run([REKNIT, "validate", *words], cwd=cwd, input=text, text=True,
                          capture_output=True, timeout=60)


def on_terminal(words, **more):
    """What the command prints on a terminal."""
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment.update({"TERM": "xterm", **more})
    master, slave = pty.openpty()
    run = subprocess.Popen([REKNIT, "validate", *words], cwd=HERE, stdout=slave, env=environment)
    os.close(slave)
    text = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(master)
    run.wait(timeout=60)
    return text.decode()


class WrongManifests(unittest.TestCase):
    def test_golden(self):
        for path in manifests(os.path.join(HERE, "bad")):
            name = os.path.relpath(path, HERE)
            golden = os.path.splitext(path)[0] + ".txt"
            with self.subTest(name):
                run = validate(name)
                if os.environ.get("REKNIT_GOLDEN") == "write":
                    with open(golden, "w", encoding="utf-8") as f:
                        f.write(run.stdout)
                with open(golden, encoding="utf-8") as f:
                    self.assertEqual(run.stdout, f.read())
                self.assertEqual((run.returncode, run.stderr), (65, ""))

    def test_seven_wrong_fields_are_seven_messages(self):
        lines = validate("bad/seven.yaml").stdout.splitlines()
        self.assertEqual(sum(": error: " in line for line in lines), 7)
        self.assertEqual(lines[-1], "1 MPIJob in 1 file: 7 errors, 0 warnings")

    def test_json_says_the_same(self):
        for path in manifests(os.path.join(HERE, "bad")):
            with self.subTest(path):
                run = validate("--json", path)
                self.assertEqual(run.returncode, 65)
                whole = json.loads(run.stdout)
                faults = whole["files"][0]["faults"]
                lines = [f"{path}:{f['line']}:{f['column']}: {f['severity']}: "
                         + (f"{f['path']}: " if f["path"] else "") + f["sentence"]
                         + (f"; {f['remedy']}" if f["remedy"] else "") for f in faults]
                said = [s for s in validate(path).stdout.splitlines()[:-1] if ": note: " not in s]
                self.assertEqual(lines, said)
                self.assertEqual(whole["errors"], sum(f["severity"] == "error" for f in faults))


class RightManifests(unittest.TestCase):
    def test_ours(self):
        run = validate(*manifests(os.path.join(HERE, "jobs")))
        self.assertNotIn(": error: ", run.stdout)
        self.assertNotIn(": warning: ", run.stdout)
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_others(self):
        folder = os.environ.get("MANIFESTS")
        if not folder:
            self.skipTest("MANIFESTS names no folder of manifests")
        for path in manifests(folder):
            with self.subTest(path):
                run = validate(path)
                self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_other_kinds_are_named(self):
        run = validate("jobs/elastic.yaml")
        self.assertIn("jobs/elastic.yaml:2:1: note: Namespace train is passed through", run.stdout)
        whole = json.loads(validate("--json", "jobs/elastic.yaml").stdout)
        self.assertEqual([d["kind"] for d in whole["files"][0]["documents"]],
                         ["Namespace", "ConfigMap", "MPIJob"])
        self.assertEqual([d["valid"] for d in whole["files"][0]["documents"]], [False, False, True])


class TheCommand(unittest.TestCase):
    def test_standard_input(self):
        run = validate("-", text="kind: MPIJob\n")
        self.assertEqual(run.returncode, 65)
        self.assertTrue(run.stdout.startswith("stdin:1:1: error: apiVersion: "), run.stdout)

    def test_usage(self):
        run = validate()
        self.assertEqual(run.returncode, 64)
        self.assertIn("name a file", run.stderr)
        run = validate("--jsn", "x")
        self.assertEqual(run.returncode, 64)
        self.assertIn("did you mean --json?", run.stderr)

    def test_unreadable(self):
        for path in ("no/such/file.yaml", HERE):
            run = validate(path, "bad/seven.yaml")
            self.assertEqual(run.returncode, 69)
            self.assertIn(path, run.stderr)
            self.assertIn("bad/seven.yaml:7:19: error: ", run.stdout)

    def test_nothing_there(self):
        run = validate("-", text="# nothing\n")
        self.assertEqual(run.returncode, 0)
        self.assertIn("stdin: warning: there is nothing in the file", run.stdout)

    def test_colours(self):
        self.assertIn("\033[1;31merror", on_terminal(["bad/seven.yaml"]))
        self.assertNotIn("\033", on_terminal(["bad/seven.yaml"], NO_COLOR="1"))
        self.assertNotIn("\033", on_terminal(["bad/seven.yaml"], TERM="dumb"))
        self.assertNotIn("\033", validate("bad/seven.yaml").stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
