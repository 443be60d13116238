"""kill -9 of ranks and agents: every loss recovered in place, survivors keep their pids, and the
state at the end is that of an undisturbed run.  REKNIT_SOAK=1: 1,000 kills against a serial sum."""
import itertools
import os
import random
import signal
import unittest

from reknit_test import (SANITIZED, JobTest, chargpt, is_running, kill, process_state,
                         program, ranks_of)

SEED = int(os.environ.get("REKNIT_SEED", "1"))
LOSSES = 8 if SANITIZED else 20
SOAK = os.environ.get("REKNIT_SOAK") == "1"


class Kills(JobTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        print(f"REKNIT_SEED={SEED}")

    def lose(self, job, status, kind):
        """Kills by kind; returns {rank: pid} of those that must survive, and how many do not."""
        ranks = ranks_of(status)
        chosen = [0] if kind == "zero" else self.random.sample(sorted(ranks), 2 - (kind != "pair"))
        exits = len(job.events("rank_exited"))
        if kind == "agent":
            agent = ranks[chosen[0]]["agent"]
            chosen = [r for r in ranks if ranks[r]["agent"] == agent]
            kill(agent)
        else:
            kill(*(ranks[r]["pid"] for r in chosen))
        if kind == "twice":  # the second while the others re-form after the first
            job.wait_event("rank_exited", exits + 1)
            chosen.append(self.random.choice([r for r in sorted(ranks) if r not in chosen]))
            kill(ranks[chosen[1]]["pid"])
        survivors = {r: ranks[r]["pid"] for r in ranks if r not in chosen}
        return survivors, 1 if kind == "agent" else len(chosen)

    def torment(self, workers, losses, *options):
        folder = self.path("c")
        job = self.job("--workers", str(workers), *options, "--", *chargpt(pace=15),
                       checkpoints=folder)
        kinds = itertools.cycle(["rank", "agent", "pair", "zero", "twice"])
        done = 0
        status = job.wait_whole(workers, 2)
        while done < losses:
            kind = next(kinds)
            survivors, count = self.lose(job, status, kind)
            done += count
            status = job.wait_whole(workers, status["step"] + 2)
            pids = {r: ranks_of(status)[r]["pid"] for r in survivors}
            self.assertEqual(pids, survivors, f"survivors' pids after a loss of kind {kind}")
        self.ends_undisturbed(job, folder)
        job.recovered_in_place(losses)

    def test_one_host(self):
        self.torment(4, LOSSES)

    def test_two_hosts(self):
        self.torment(4, LOSSES // 2, "--virtual-hosts", "2")

    @unittest.skipIf(SANITIZED, "covered by test_one_host there")
    def test_three_workers(self):
        self.torment(3, LOSSES // 4)

    def test_loss_during_start(self):
        """A rank killed as soon as it exists, before the first step."""
        folder = self.path("c")
        job = self.job("--workers", "3", "--", *chargpt(60, 10), checkpoints=folder)
        status = job.wait_status(lambda s: any(r["pid"] > 0 for r in ranks_of(s).values()), "a pid")
        kill(next(r["pid"] for r in ranks_of(status).values() if r["pid"] > 0))
        job.finishes()
        self.assertEqual(self.digest(folder), self.reference(60))

    def test_whole_world_lost(self):
        """All ranks at once: relaunched from the agents' memory, at most one step repeated."""
        folder = self.path("c")
        job = self.job("--workers", "3", "--", *chargpt(150, 10), checkpoints=folder)
        status = job.wait_whole(3, 20)
        kill(*(r["pid"] for r in ranks_of(status).values()))
        job.finishes()
        self.assertIn("relaunch", [e["mode"] for e in job.events("recovered")])
        self.assertEqual(self.digest(folder), self.reference(150))

    def test_hosts_lost_in_turn(self):
        """The second while the first, back, still waits for its state: the job goes on from the
        newest snapshot of all hosts that live, also of one that has no rank for a moment."""
        job = self.job("--workers", "4", "--virtual-hosts", "2", "--heartbeat", "20ms", "--",
                       program("sumcheck"), "--steps", "1000000", "--pace-us", "4000",
                       "--verify-state")
        for _ in range(2 if SANITIZED else 5):
            status = job.wait_whole(4, job.wait_step(0)["step"] + 10)
            ranks = list(ranks_of(status).values())
            second = self.random.choice(["vh0", "vh1"])
            kill(*(r["pid"] for r in ranks if r["host"] != second))
            job.wait_status(lambda s: s["step"] > status["step"] and (
                any(s["step"] in w["snapshots"] for w in s["workers"] if w["host"] == second)
                or all(is_running(r) and r["step"] > status["step"]
                       for r in ranks_of(s).values())), "a state that is given")
            kill(*(r["pid"] for r in ranks if r["host"] == second))
        job.wait_whole(4, job.wait_step(0)["step"] + 10)
        kill(job.process.pid, number=signal.SIGTERM)
        job.finishes(143)
        self.assertEqual([e for e in job.events("recovered") if e["lost_steps"] != 0], [],
                         "\n".join(str(e) for e in job.events()))

    def torrent(self, kills, *options, memory="own", more=()):
        self.storm(kills, self.random, 0.15, *options, "--", program("sumcheck"), "--steps",
                   "1000000", "--grad-kb", "256", "--pace-us", "4000", "--verify-state",
                   "--memory", memory, *more)

    def test_storm(self):
        self.torrent(1000 if SOAK else 10 if SANITIZED else 40)

    def test_storm_in_the_arena(self):
        """Gradients and state in the arena, buckets summed while others are still computed."""
        for memory in ("arena", "fused"):
            for hosts in (1, 2):
                with self.subTest(memory=memory, hosts=hosts):
                    self.torrent(5 if SANITIZED else 12, "--virtual-hosts", str(hosts),
                               memory=memory)

    def test_storm_of_averages(self):
        """What a lost rank's shards weigh is not lost either; float64 and bfloat16 beside."""
        for memory, hosts in ("own", 1), ("arena", 2):
            with self.subTest(memory=memory, hosts=hosts):
                self.torrent(5 if SANITIZED else 12, "--virtual-hosts", str(hosts), memory=memory,
                             more=["--reduce", "weighted", "--types"])

    def test_user_program_keeps_no_children(self):
        """What a killed rank started goes with it, and with the job."""
        job = self.job("--workers", "2", "--backend", "none", "--", "/bin/sh", "-c",
                       "sleep 300 & sleep 2")
        job.wait_whole(2)
        children = job.pids_of_command("sleep")
        self.assertEqual(job.wait(), 0, job.output())
        self.assertEqual([p for p in children if process_state(p)], [])


if __name__ == "__main__":
    unittest.main()
