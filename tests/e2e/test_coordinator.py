"""kill -9 of the coordinator in mid-run: training goes on without it, a new one takes over."""
import signal
import time
import unittest

from reknit_test import JobTest, chargpt, kill, process_state, ranks_of, wait_for

PACE = 20
ALONE = 2.0  # seconds without a coordinator


class Coordinator(JobTest):
    def takeover(self, *options, lose_rank=False):
        folder = self.path("c")
        job = self.job("--workers", "4", *options, "--", *chargpt(pace=PACE), checkpoints=folder)
        before = job.wait_whole(4, 10)
        # The supervisor is held, so that nobody starts the next coordinator for a while.
        kill(job.process.pid, number=signal.SIGSTOP)
        kill(before["coordinator_pid"])
        if lose_rank:
            kill(ranks_of(before)[1]["pid"])
        time.sleep(ALONE)
        self.assertIsNone(job.status(), "somebody answers without a coordinator")
        kill(job.process.pid, number=signal.SIGCONT)
        after = job.wait_status(lambda s: s["epoch"] > before["epoch"], "the next epoch")
        self.assertNotEqual(after["coordinator_pid"], before["coordinator_pid"])
        whole = job.wait_whole(4)
        kept = [r for r in range(4) if not (lose_rank and r == 1)]
        for rank in kept:
            self.assertEqual(ranks_of(whole)[rank]["pid"], ranks_of(before)[rank]["pid"])
        self.ends_undisturbed(job, folder)
        return job, before, whole

    def test_ranks_step_without_it(self):
        job, before, after = self.takeover()
        self.assertEqual(job.events("recovered"), [])
        least = int(ALONE * 1000 / PACE / 4)  # a quarter of what the pace allows
        self.assertGreater(after["step"], before["step"] + least)

    def test_over_two_hosts(self):
        self.takeover("--virtual-hosts", "2")

    def test_rank_lost_while_it_is_gone(self):
        job, _, _ = self.takeover(lose_rank=True)
        job.recovered_in_place(1)

    def test_ends_while_it_is_gone(self):
        """All ranks finish and leave without a coordinator: the next one saves what they left."""
        folder = self.path("c")
        job = self.job("--workers", "3", "--", *chargpt(120, 10), checkpoints=folder)
        before = job.wait_whole(3, 10)
        kill(job.process.pid, number=signal.SIGSTOP)
        kill(before["coordinator_pid"])
        wait_for(lambda: all(process_state(r["pid"]) is None for r in ranks_of(before).values()),
                 "the end of all ranks")
        kill(job.process.pid, number=signal.SIGCONT)
        job.finishes()
        self.assertEqual(self.digest(folder), self.reference(120))

    def test_dies_when_all_is_over(self):
        """What it had decided stands, whoever has heard it: nobody makes the steps again, though
        there is no checkpoint to go on from."""
        job = self.job("--workers", "2", "--", *chargpt(60, 10))
        before = job.wait_whole(2, 5)
        kill(job.process.pid, number=signal.SIGSTOP)
        job.wait_event("job_finished")
        kill(before["coordinator_pid"])
        kill(job.process.pid, number=signal.SIGCONT)
        job.finishes()
        self.assertEqual(1, len(job.events("generation_started")))

    def test_again_and_again(self):
        """Three coordinators of one job; the supervisor starts each next one by itself."""
        folder = self.path("c")
        job = self.job("--workers", "2", "--", *chargpt(pace=PACE), checkpoints=folder)
        status = job.wait_whole(2, 5)
        for _ in range(3):
            kill(status["coordinator_pid"])
            epoch = status["epoch"]
            status = job.wait_status(lambda s, e=epoch: s["epoch"] > e, "the next epoch")
        self.assertEqual(job.events("recovered"), [])
        self.ends_undisturbed(job, folder)

    def test_run_killed_leaves_nothing(self):
        """`reknit run` itself killed: nothing runs on, and the next run continues."""
        folder = self.path("c")
        first = self.job("--workers", "3", "--checkpoint-interval", "10steps", "--",
                         *chargpt(pace=PACE), name="killed", checkpoints=folder)
        status = first.wait_whole(3, 40)
        committed = first.wait_event("checkpoint_committed")
        kill(first.process.pid)
        first.process.wait()
        self.nothing_left()
        self.assertIsNone(process_state(ranks_of(status)[0]["pid"]))
        again = self.job("--workers", "2", "--", *chargpt(), name="killed", checkpoints=folder)
        again.wait_step(committed["step"] + 5)
        self.ends_undisturbed(again, folder)


if __name__ == "__main__":
    unittest.main()
