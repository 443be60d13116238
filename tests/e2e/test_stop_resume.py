"""Stopping in good order, and going on from there: SIGTERM, SIGINT, `reknit stop`, scaling."""
import signal
import time
import unittest

from reknit_test import JobTest, chargpt, kill, ranks_of

MORE = 200  # steps that the job goes on to make
PACE = 15


class StopResume(JobTest):
    def stop_and_resume(self, stop, code, workers=("3", "2")):
        folder = self.path("c")
        job = self.job("--workers", workers[0], "--", *chargpt(pace=PACE), name="resumed",
                       checkpoints=folder)
        reached = job.wait_step(30)["step"]
        stop(job)
        job.finishes(code)
        committed = job.events("checkpoint_committed")
        self.assertGreaterEqual(committed[-1]["step"], reached)
        self.nothing_left()
        end = committed[-1]["step"] + MORE
        again = self.job("--workers", workers[1], "--", *chargpt(end, PACE), name="resumed",
                         checkpoints=folder)
        status = again.wait_status(lambda s: s["step"] > 0, "a step")
        self.assertGreaterEqual(status["step"], committed[-1]["step"])
        again.finishes()
        self.assertEqual(again.events("recovered"), [])
        self.assertEqual(self.digest(folder), self.reference(end))

    def test_sigterm(self):
        self.stop_and_resume(lambda job: kill(job.process.pid, number=signal.SIGTERM), 143)

    def test_sigint(self):
        self.stop_and_resume(lambda job: kill(job.process.pid, number=signal.SIGINT), 130,
                             ("1", "4"))

    def test_second_sigint_stops_at_once(self):
        job = self.job("--workers", "2", "--", *chargpt(pace=10000))
        job.wait_whole(2)
        start = time.monotonic()
        kill(job.process.pid, number=signal.SIGINT)
        job.wait_status(lambda s: s["state"] != "running", "stopping")
        kill(job.process.pid, number=signal.SIGINT)
        job.finishes(130)
        self.assertLess(time.monotonic() - start, 8)  # a step alone lasts 10 s

    def test_stop_command(self):
        folder = self.path("c")
        job = self.job("--workers", "2", "--", *chargpt(pace=PACE), checkpoints=folder)
        job.wait_step(10)
        self.reknit("stop", job.name)
        self.assertNotEqual(job.wait(), 0)
        self.assertTrue(job.events("checkpoint_committed"))
        self.assertIn("committed", self.reknit("checkpoint", "list", folder))

    def test_kill_command(self):
        job = self.job("--workers", "2", "--", *chargpt(pace=PACE))
        job.wait_step(5)
        self.reknit("kill", job.name)
        self.assertNotEqual(job.wait(), 0)

    def test_scale(self):
        folder = self.path("c")
        job = self.job("--workers", "2", "--", *chargpt(pace=PACE), checkpoints=folder)
        first = job.wait_whole(2, 5)
        self.reknit("scale", job.name, "4")
        grown = job.wait_whole(4, first["step"] + 2)
        for rank, before in ranks_of(first).items():
            self.assertEqual(ranks_of(grown)[rank]["pid"], before["pid"])
        self.reknit("scale", job.name, "1")
        job.wait_whole(1, grown["step"] + 2)
        self.ends_undisturbed(job, folder)
        self.assertGreaterEqual(len(job.events("scaled")), 2)


if __name__ == "__main__":
    unittest.main()
