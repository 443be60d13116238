"""--reduction fast: ranks are lost and no step is, all ranks see the same sums, near those of the
tree; the same world repeats its bits; what was summed how is told everywhere."""
import json
import re
import signal
import unittest

from reknit_test import JobTest, chargpt, kill, program, ranks_of


class Fast(JobTest):
    def sumcheck(self, workers, steps, pace_us, *options, memory="own"):
        return self.job("--workers", str(workers), "--reduction", "fast", "--shards", "16",
                        *options, "--", program("sumcheck"), "--fast", "--steps", str(steps),
                        "--grad-kb", "96", "--pace-us", str(pace_us), "--memory", memory)

    def seen(self, job, ranks):
        """What all ranks have seen, which must be one thing."""
        lines = re.findall(r"sumcheck: ok rank=(\d+) .* seen=([0-9a-f]{16})", job.output())
        self.assertEqual(len({rank for rank, _ in lines}), ranks, job.output())
        self.assertEqual(len({seen for _, seen in lines}), 1, job.output())
        return lines[0][1]

    def lose(self, hosts, memory):
        job = self.sumcheck(3, 1000000, 10000, "--virtual-hosts", str(hosts), memory=memory)
        status = job.wait_whole(3, 3)
        self.assertEqual(status["reduction"], "fast")
        for rank in (1, 0, 2):
            ranks = ranks_of(status)
            kill(ranks[rank]["pid"])
            status = job.wait_whole(3, status["step"] + 3)
            self.assertEqual({r: ranks_of(status)[r]["pid"] for r in ranks if r != rank},
                             {r: ranks[r]["pid"] for r in ranks if r != rank})
        kill(job.process.pid, number=signal.SIGTERM)  # it has no end of its own
        job.finishes(143)
        job.recovered_in_place(3)
        self.assertEqual(job.events("job_started")[0]["reduction"], "fast")
        self.seen(job, 3)

    def test_ranks_are_lost_on_one_host(self):
        for memory in ("own", "arena", "fused"):
            with self.subTest(memory=memory):
                self.lose(1, memory)

    def test_ranks_are_lost_on_two_hosts(self):
        for memory in ("own", "fused"):
            with self.subTest(memory=memory):
                self.lose(2, memory)

    def test_the_same_world_repeats_its_bits(self):
        for hosts in (1, 2):
            jobs = []
            for _ in range(2):
                jobs.append(self.sumcheck(3, 30, 0, "--virtual-hosts", str(hosts)))
                jobs[-1].finishes()
            self.assertEqual(self.seen(jobs[0], 3), self.seen(jobs[1], 3))

    def test_a_checkpoint_of_the_other_kind_is_gone_on_from(self):
        folder = self.path("c")
        self.job("--workers", "2", "--", *chargpt(20, 0), name="first",
                 checkpoints=folder).finishes()
        job = self.job("--workers", "2", "--reduction", "fast", "--", *chargpt(40, 0),
                       name="second", checkpoints=folder)
        job.finishes()
        self.assertRegex(job.output(), r"step-0*20\S* was made with --reduction exact, this run "
                                       r"goes on with fast")
        self.assertEqual(job.events("job_finished")[0]["steps"], 40)
        for step, reduction in (20, "exact"), (40, "fast"):
            told = self.reknit("checkpoint", "show", folder, "--step", str(step), "--json")
            self.assertEqual(json.loads(told)["reduction"], reduction)


if __name__ == "__main__":
    unittest.main()
