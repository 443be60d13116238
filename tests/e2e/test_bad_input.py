"""Wrong options, damaged checkpoints, full disks: a clear message, the right code, nothing lost."""
import json
import os
import shutil
import subprocess
import unittest

from reknit_test import REKNIT, JobTest, chargpt, files_under

STEPS = 40
USAGE, DATA, UNAVAILABLE = 64, 65, 69


class BadOptions(JobTest):
    def test_usage(self):
        train = ["--", *chargpt(1)]
        cases = [
            (["run", "--no-such", *train], "--no-such"),
            (["run", "--workers", "0", *train], "workers"),
            (["run", "--workers", "-3", *train], "workers"),
            (["run", "--workers", "x", *train], "workers"),
            (["run", "--workers", "4:2", *train], "workers"),
            (["run", "--workers", "99999999999999999999", *train], "workers"),
            (["run", "--workers"], "workers"),
            (["run", "--workers", "2", "--virtual-hosts", "3", *train], "virtual-hosts"),
            (["run", "--shards", "3", *train], "shards"),
            (["run", "--shards", "2", "--workers", "4", *train], "shards"),
            (["run", "--checkpoint-interval", "often", *train], "checkpoint-interval"),
            (["run", "--name", "a/b", *train], "name"),
            (["run"], "program"),
            (["no-such-command"], "no-such-command"),
            (["checkpoint", "no-such"], "no-such"),
            (["status", "--no-such"], "--no-such"),
        ]
        for arguments, word in cases:
            with self.subTest(arguments=arguments):
                self.assertIn(word, self.reknit(*arguments, code=USAGE))

    def test_help(self):
        commands = ("run", "status", "events", "logs", "scale", "stop", "kill", "doctor", "bench",
                    "checkpoint")
        for command in commands:
            with self.subTest(command=command):
                self.assertIn("usage", self.reknit(command, "--help").lower())
        self.assertIn("reknit run", self.reknit("--help"))

    def test_help_of_checkpoint_and_bench(self):
        for command in (["checkpoint", c] for c in ("list", "show", "digest", "verify", "prune")):
            with self.subTest(command=command):
                self.assertIn("usage", self.reknit(*command, "--help").lower())
        self.assertIn("usage", self.reknit("bench", "recovery", "--help").lower())

    def test_open_mpi_that_does_not_work(self):
        """Carriers that never come up: where to look is said, and mpirun's own last words."""
        folder = self.path("bin")
        os.mkdir(folder)
        with open(os.path.join(folder, "mpirun"), "w", encoding="utf-8") as script:
            script.write("#!/bin/sh\necho 'no route to the moon' >&2\nexit 1\n")
        os.chmod(os.path.join(folder, "mpirun"), 0o755)
        job = self.job("--workers", "2", "--virtual-hosts", "2", "--max-restarts", "2", "--",
                       *chargpt(5), prefix=("env", f"PATH={folder}:{os.environ['PATH']}"))
        self.assertEqual(job.wait(), 75, job.output())
        for words in ("no route to the moon", "carriers-", "reknit doctor"):
            self.assertIn(words, job.output())

    def test_missing_program(self):
        for name in ("/no/such/program", "no-such-program"):
            with self.subTest(name=name):
                said = self.reknit("run", "--workers", "1", "--", name, code=UNAVAILABLE)
                self.assertIn(name, said)

    def test_no_such_job(self):
        for command in ("status", "stop", "kill", "events", "logs"):
            with self.subTest(command=command):
                said = self.reknit(command, "no-such-job", code=UNAVAILABLE)
                self.assertIn("no-such-job", said)

    def test_doctor(self):
        seen = json.loads(self.reknit("doctor", "--json"))
        self.assertTrue(seen["ok"])
        self.assertIn("Open MPI", [f["name"] for f in seen["findings"]])


class Checkpoints(JobTest):
    def setUp(self):
        super().setUp()
        self.made = self.path("c")
        self.job("--workers", "2", "--checkpoint-interval", "10steps", "--", *chargpt(STEPS),
                 name="c", checkpoints=self.made).finishes()
        self.good = self.digest(self.made)

    def shards(self):
        """HDF5 files, those of the newest checkpoint last."""
        found = [f for f in files_under(self.made) if f.endswith((".h5", ".hdf5"))]
        self.assertTrue(found)
        return sorted(found, key=lambda f: os.stat(f).st_mtime_ns)

    @staticmethod
    def flip(path):
        """One bit of a tensor: in the block with the fewest zeros, for the rest is HDF5's own
        metadata and padding, which restoring does not need."""
        with open(path, "r+b") as f:
            data = f.read()
            block = min(range(0, len(data) - 4095, 4096),
                        key=lambda at: data.count(0, at, at + 4096))
            f.seek(block + 2048)
            f.write(bytes([data[block + 2048] ^ 0x10]))

    @staticmethod
    def cut(path):
        os.truncate(path, os.path.getsize(path) // 2)

    def go_on(self, code=0):
        return self.job("--workers", "3", "--", *chargpt(STEPS), name="c",
                        checkpoints=self.made).finishes(code)

    def test_resumed_at_its_end(self):
        """Nothing is left to do: a rank may have ended before another has heard that it may go."""
        for _ in range(3):
            self.go_on()
        self.assertEqual(self.digest(self.made), self.good)

    def test_damage_falls_back_to_the_one_before(self):
        for damage in (self.flip, self.cut, os.unlink):
            with self.subTest(damage=damage.__name__):
                damage(self.shards()[-1])
                self.reknit("checkpoint", "verify", self.made, code=DATA)
                job = self.go_on()
                self.assertTrue(job.events("checkpoint_rejected"))
                self.assertEqual(self.digest(self.made), self.good)

    def test_all_damaged(self):
        kept = self.path("kept")
        for path in self.shards():
            self.flip(path)
        shutil.copytree(self.made, kept)
        job = self.go_on(DATA)
        self.assertIn("checkpoint", job.output())
        self.assertIn("damaged", job.output())
        left = [self.content(path) for path in self.shards()]
        for path in files_under(kept):  # set aside, and not one byte of it taken away
            if path.endswith((".h5", ".hdf5")):
                self.assertIn(self.content(path), left, path)
        self.go_on(DATA)  # nor does the next run start from the beginning

    @staticmethod
    def content(path):
        with open(path, "rb") as f:
            return f.read()

    def test_of_another_job(self):
        job = self.job("--workers", "2", "--", *chargpt(STEPS, seed=9), name="c",
                       checkpoints=self.made)
        job.finishes(DATA)
        self.assertEqual(self.digest(self.made), self.good)

    def test_second_run_in_the_same_folder(self):
        first = self.job("--workers", "2", "--", *chargpt(STEPS * 10, 20), name="c",
                         checkpoints=self.made)
        first.wait_whole(2)
        for name in ("c", "other"):
            said = self.reknit("run", "--workers", "1", "--name", name, "--checkpoint-dir",
                               self.made, "--", *chargpt(1), code=UNAVAILABLE)
            self.assertIn("c", said)
        first.finishes()

    def test_a_file_in_place_of_the_folder(self):
        with open(self.path("file"), "w", encoding="utf-8") as f:
            f.write("kept")
        said = self.reknit("run", "--workers", "1", "--checkpoint-dir", self.path("file"), "--",
                           *chargpt(1), code=UNAVAILABLE)
        self.assertIn(self.path("file"), said)
        self.reknit("checkpoint", "digest", self.path("nowhere"), code=UNAVAILABLE)
        os.mkdir(self.path("empty"))
        self.reknit("checkpoint", "digest", self.path("empty"), code=UNAVAILABLE)


@unittest.skipUnless(os.geteuid() == 0, "mounts a small disk and gives up capabilities: needs root")
class Disk(JobTest):
    def test_full(self):
        """The job says so and ends with 69; what was committed before is still good."""
        folder = self.path("small")
        os.mkdir(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
        try:
            job = self.job("--workers", "2", "--", *chargpt(STEPS), checkpoints=folder)
            job.finishes(UNAVAILABLE)
            self.assertIn("space", job.output())
        finally:
            subprocess.run(["umount", folder], check=True)

    def test_no_permission(self):
        folder = self.path("closed")
        os.mkdir(folder, 0o500)
        line = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", REKNIT, "run",
                "--workers", "1", "--checkpoint-dir", os.path.join(folder, "c"), "--", *chargpt(1)]
        run = subprocess.run(line, env=self.environment, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=60, check=False)
        self.assertEqual(run.returncode, UNAVAILABLE, run.stdout)
        self.assertIn(folder, run.stdout)


if __name__ == "__main__":
    unittest.main()
