"""SIGSTOP: a process that stands still is noticed, fenced and replaced; a busy machine is not."""
import os
import signal
import subprocess
import sys
import unittest

from reknit_test import ENDED, JobTest, chargpt, kill, process_state, ranks_of, wait_for

PACE = 15


class Stopped(JobTest):
    def start(self):
        folder = self.path("c")
        job = self.job("--workers", "3", "--", *chargpt(pace=PACE), checkpoints=folder)
        return job, job.wait_whole(3, 10), folder

    def ends_well(self, job, folder):
        self.ends_undisturbed(job, folder)
        job.recovered_in_place(1)

    def test_rank(self):
        job, status, folder = self.start()
        pid = ranks_of(status)[1]["pid"]
        kill(pid, number=signal.SIGSTOP)
        job.wait_event("recovered")
        wait_for(lambda: process_state(pid) in ENDED, "the stopped rank is dead")
        self.ends_well(job, folder)

    def test_agent(self):
        job, status, folder = self.start()
        agent = ranks_of(status)[1]["agent"]
        kill(agent, number=signal.SIGSTOP)
        job.wait_event("worker_lost")
        job.wait_event("recovered")
        kill(agent, number=signal.SIGCONT)  # dead, or harmless
        self.ends_well(job, folder)

    def test_short_stop_is_forgiven(self):
        """A tenth of the silence limit is nothing, again and again."""
        job, status, folder = self.start()
        for _ in range(5):
            for rank in ranks_of(status).values():
                kill(rank["agent"], number=signal.SIGSTOP)
                kill(rank["agent"], number=signal.SIGCONT)
        job.wait_step(status["step"] + 50)
        self.ends_undisturbed(job, folder)
        self.assertEqual(job.events("worker_lost") + job.events("rank_exited"), [])

    def test_no_false_alarm_on_a_busy_machine(self):
        hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
                for _ in range(2 * (os.cpu_count() or 1))]
        try:
            job, status, folder = self.start()
            job.wait_step(status["step"] + 100)
            self.ends_undisturbed(job, folder)
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
        self.assertEqual(job.events("worker_lost") + job.events("recovered"), [])


if __name__ == "__main__":
    unittest.main()
