#!/usr/bin/env python3
"""launch/packages with an apt, a dpkg and a sudo that only write down what they are asked."""
import os
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
PACKAGES = os.path.join(HERE, "..", "..", "launch", "packages")
NEEDED = ("bash", "sh", "env", "sed", "sort", "cat", "sleep", "true")

# Answers for each of the names asked that is not in $MISSING.
DPKG = """#!/bin/sh
shift 2
for name in "$@"; do
    case " $MISSING " in *" $name "*) ;; *) printf 'installed=%s ' "$name" ;; esac
done
"""
APT = """#!/bin/sh
echo "apt-get $*" >>"$LOG"
case "$*" in *install*) exit "${APT_CODE:-0}" ;; esac
"""
SUDO = '#!/bin/sh\necho "sudo $*" >>"$LOG"\n[ "$SUDO_ASKS" = yes ] && exit 1\nshift\nexec "$@"\n'


class Packages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in NEEDED:
            target = subprocess.run(["which", name], text=True, check=True,
                                    stdout=subprocess.PIPE).stdout.strip()
            os.symlink(target, os.path.join(self.folder, name))
        self.put("dpkg-query", DPKG)
        self.put("apt-get", APT)
        self.put("apt-cache", "#!/bin/sh\n")
        self.put("id", "#!/bin/sh\necho ${USER_ID:-0}\n")

    def put(self, name, text):
        path = os.path.join(self.folder, name)
        if os.path.lexists(path):
            os.unlink(path)  # a link to the real program: never write through it
        with open(path, "x", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def run_packages(self, *arguments, code=0, **environment):
        """Returns what it said and the commands it ran."""
        log = os.path.join(self.folder, "log")
        with open(log, "w", encoding="utf-8"):
            pass
        run = subprocess.run(["bash", PACKAGES, *arguments], text=True, check=False,
                             env={"PATH": self.folder, "LOG": log, **environment},
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        self.assertEqual(run.returncode, code, run.stdout)
        with open(log, encoding="utf-8") as f:
            return run.stdout, f.read().splitlines()

    def test_nothing_missing_does_nothing(self):
        self.assertEqual(self.run_packages("build", "test", "run"), ("", []))

    def test_only_what_is_missing_is_installed(self):
        said, ran = self.run_packages("build", MISSING="cmake libzmq3-dev strace")
        self.assertIn("cmake libzmq3-dev", said)
        self.assertEqual(len(ran), 1)
        self.assertTrue(ran[0].endswith("install --no-install-recommends cmake libzmq3-dev"), ran)

    def test_lists_are_fetched_only_when_they_are_not_there(self):
        self.put("apt-cache", "#!/bin/sh\nexit 100\n")
        _, ran = self.run_packages("build", MISSING="cmake")
        self.assertEqual([line.split()[-1] for line in ran], ["update", "cmake"])

    def test_sudo_when_not_root(self):
        self.put("sudo", SUDO)
        _, ran = self.run_packages("build", MISSING="cmake", USER_ID="1000")
        self.assertTrue(any(line.startswith("sudo -n env") for line in ran), ran)
        self.assertTrue(any(line.startswith("apt-get") for line in ran), ran)

    def test_says_the_command_when_it_cannot_be_root(self):
        said, ran = self.run_packages("build", code=69, MISSING="cmake", USER_ID="1000")
        self.assertIn("apt-get install cmake", said)
        self.assertEqual(ran, [])
        self.put("sudo", SUDO)
        said, _ = self.run_packages("build", code=69, MISSING="cmake", USER_ID="1000",
                                    SUDO_ASKS="yes")
        self.assertIn("sudo apt-get install cmake", said)

    def test_gives_up_after_three_tries(self):
        self.put("sleep", "#!/bin/sh\n")
        said, ran = self.run_packages("build", code=69, MISSING="cmake", APT_CODE="100")
        self.assertEqual(sum("install" in line for line in ran), 3)
        self.assertIn("could not install: cmake", said)

    def test_no_apt(self):
        os.unlink(os.path.join(self.folder, "apt-get"))
        said, _ = self.run_packages("build", code=69, MISSING="cmake")
        self.assertIn("no apt here", said)


if __name__ == "__main__":
    unittest.main()
