"""Workers that will end soon hand over and leave; spare workers take the place of lost ones."""
import signal
import unittest

from reknit_test import JobTest, chargpt, kill, ranks_of

PACE = 15


def worker_of(status, rank):
    """The worker under which a rank runs."""
    return next(w for w in status["workers"] if any(r["rank"] == rank for r in w["ranks"]))


class Drain(JobTest):
    def handed_over(self, job, before, gone, folder):
        """Those of `gone` have left, others came in their place, the rest did not notice, and the
        state is that of an undisturbed run."""
        job.wait_event("drained", len(gone))
        after = job.wait_status(
            lambda s: len(ranks_of(s)) == len(ranks_of(before)) and s["state"] == "running"
            and not gone & {w["id"] for w in s["workers"]}
            and all(r["state"] == "member" for r in ranks_of(s).values()), "whole again")
        pids = {r["pid"] for r in ranks_of(after).values()}
        for rank in ranks_of(before).values():
            if rank["worker"] not in gone:
                self.assertIn(rank["pid"], pids, "a rank that was not asked to leave")
        self.assertEqual({e["worker"] for e in job.events("drained")}, gone)
        for name in ("recovered", "rank_exited", "worker_lost"):
            self.assertEqual(job.events(name), [], "nothing is lost")
        job.wait_step(after["step"] + 2)
        self.ends_undisturbed(job, folder)

    def test_command(self):
        folder = self.path("c")
        job = self.job("--workers", "3", "--max-restarts", "0", "--", *chargpt(pace=PACE),
                       checkpoints=folder)
        before = job.wait_whole(3, 5)
        worker = worker_of(before, 1)
        self.reknit("drain", job.name, worker["id"])
        self.handed_over(job, before, {worker["id"]}, folder)

    def test_sigterm_of_an_agent(self):
        folder = self.path("c")
        job = self.job("--workers", "3", "--max-restarts", "0", "--", *chargpt(pace=PACE),
                       checkpoints=folder)
        before = job.wait_whole(3, 5)
        worker = worker_of(before, 0)
        kill(worker["warden_pid"], number=signal.SIGTERM)
        self.handed_over(job, before, {worker["id"]}, folder)

    def test_host(self):
        folder = self.path("c")
        job = self.job("--workers", "4", "--virtual-hosts", "2", "--max-restarts", "0", "--",
                       *chargpt(pace=PACE), checkpoints=folder)
        before = job.wait_whole(4, 5)
        gone = {w["id"] for w in before["workers"] if w["host"] == "vh1"}
        self.assertEqual(len(gone), 2)
        self.reknit("drain", job.name, "--host", "vh1")
        self.handed_over(job, before, gone, folder)

    def test_all_workers(self):
        """Nobody stays: the state goes over to those who come."""
        folder = self.path("c")
        job = self.job("--workers", "2", "--max-restarts", "0", "--", *chargpt(pace=PACE),
                       checkpoints=folder)
        before = job.wait_whole(2, 5)
        gone = {w["id"] for w in before["workers"]}
        for worker in gone:
            self.reknit("drain", job.name, worker)
        self.handed_over(job, before, gone, folder)

    def test_nobody_comes(self):
        """Its time is over before anybody else is there: the rest goes on without it."""
        job = self.job("--workers", "2", "--", *chargpt(pace=PACE),
                       checkpoints=self.path("c"))
        before = job.wait_whole(2, 5)
        worker = worker_of(before, 1)
        self.reknit("drain", job.name, worker["id"], "--within", "10ms")
        job.wait_event("drained")
        job.wait_whole(2, job.status()["step"] + 2)
        self.assertEqual(job.events("recovered"), [])
        job.stops()

    def test_coordinator_restarted(self):
        """A new coordinator hears of it again, from the worker itself."""
        job = self.job("--workers", "2", "--", *chargpt(pace=PACE),
                       checkpoints=self.path("c"))
        before = job.wait_whole(2, 5)
        worker = worker_of(before, 1)
        kill(before["coordinator_pid"], number=signal.SIGSTOP)
        kill(worker["warden_pid"], number=signal.SIGTERM)
        kill(before["coordinator_pid"])
        job.wait_event("drained")
        job.wait_whole(2, before["step"] + 2)
        job.stops()

    def test_bad_names(self):
        job = self.job("--workers", "1", "--", *chargpt(pace=PACE),
                       checkpoints=self.path("c"))
        job.wait_whole(1, 1)
        self.assertIn("status", self.reknit("drain", job.name, "0123456789abcdef", code=69))
        self.assertIn("status", self.reknit("drain", job.name, "--host", "nowhere", code=69))
        self.assertIn("which worker", self.reknit("drain", job.name, "zzz", code=64))
        self.assertIn("which worker", self.reknit("drain", code=64))
        self.assertIn("not expected", self.reknit("drain", "a", "b", "c", code=64))
        job.stops()


class Spares(JobTest):
    def test_takes_over(self):
        folder = self.path("c")
        job = self.job("--workers", "2", "--spares", "1", "--", *chargpt(pace=PACE),
                       checkpoints=folder)
        before = job.wait_status(lambda s: len(s["workers"]) == 3 and len(ranks_of(s)) == 2
                                 and s["step"] > 5, "two workers and a spare")
        spare = next(w for w in before["workers"] if w["state"] == "spare")
        self.assertEqual(spare["ranks"], [])
        kill(worker_of(before, 1)["pid"])
        after = job.wait_status(
            lambda s: len(s["workers"]) == 3 and len(ranks_of(s)) == 2
            and any(r["worker"] == spare["id"] for r in ranks_of(s).values())
            and any(w["state"] == "spare" for w in s["workers"]), "the spare and another spare")
        self.assertNotIn(spare["id"], [w["id"] for w in after["workers"] if w["state"] == "spare"])
        job.wait_step(after["step"] + 2)
        job.recovered_in_place(1)
        self.ends_undisturbed(job, folder)

    def test_lost_spare_is_no_loss(self):
        job = self.job("--workers", "1", "--spares", "1", "--max-restarts", "0", "--",
                       *chargpt(pace=PACE), checkpoints=self.path("c"))
        before = job.wait_status(lambda s: len(s["workers"]) == 2 and s["step"] > 2, "a spare")
        spare = next(w for w in before["workers"] if w["state"] == "spare")
        kill(spare["pid"])
        job.wait_status(lambda s: any(w["state"] == "spare" and w["id"] != spare["id"]
                                      for w in s["workers"]), "another spare")
        self.assertEqual(job.events("recovered"), [])
        job.stops()


if __name__ == "__main__":
    unittest.main()
