"""What the examples' READMEs say they print, by hand and as a job that loses a rank."""
import os
import re
import subprocess
import unittest

from reknit_test import BUILD, DEADLINE, ROOT, JobTest, kill, ranks_of


def expected(name):
    """The lines of the first block of the example's README."""
    with open(os.path.join(ROOT, "examples", name, "README.md"), encoding="utf-8") as file:
        return re.search(r"```\n(.*?)```", file.read(), re.DOTALL).group(1).splitlines()


class Examples(JobTest):
    def by_hand(self, name, *arguments):
        run = subprocess.run([os.path.join(BUILD, "bin", name), *arguments], env=self.environment,
                             text=True, capture_output=True, timeout=DEADLINE, check=True)
        return run.stdout.splitlines()

    def test_tiny(self):
        self.assertEqual(self.by_hand("tiny"), expected("tiny"))

    def test_fused(self):
        self.assertEqual(self.by_hand("fused"), expected("fused"))

    def test_fused_loses_a_rank(self):
        work = ("6000", "64")  # some seconds of it
        job = self.job("--workers", "3", "--", os.path.join(BUILD, "bin", "fused"), *work)
        status = job.wait_whole(3, 20)
        kill(ranks_of(status)[1]["pid"])
        job.finishes()
        job.recovered_in_place(1)
        said = re.findall(r"step \d+ loss [0-9.]+", job.output())
        self.assertEqual(said[-1], self.by_hand("fused", *work)[-1])


if __name__ == "__main__":
    unittest.main()
