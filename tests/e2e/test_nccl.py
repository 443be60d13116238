"""--backend nccl with the doubles of NCCL and the CUDA runtime (tests/nccl): ranks are lost, sums
stay exact, and what goes wrong is told.  Where there is a GPU, also with that.  REKNIT_SOAK=1:
1,000 kills."""
import os
import random
import re
import unittest

from reknit_test import BUILD, CHARGPT, SANITIZED, JobTest, kill, program, ranks_of

DOUBLES = os.path.join(BUILD, "tests", "nccl")
SEED = int(os.environ.get("REKNIT_SEED", "1"))
SOAK = os.environ.get("REKNIT_SOAK") == "1"
KILLS = 1000 if SOAK else 10 if SANITIZED else 25


def sumcheck(steps, *options, pace_us=0, grad_kb=24):
    return [program("sumcheck"), "--memory", "gpu", "--steps", str(steps), "--check-all",
            "--grad-kb", str(grad_kb), "--bucket-kb", "4", "--pace-us", str(pace_us), *options]


def chargpt(steps, device):
    return [CHARGPT, "--size", "tiny", "--steps", str(steps), "--batch", "8", "--sample", "0",
            "--device", device]


class NcclTest(JobTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        self.meetings = self.path("meetings")
        os.mkdir(self.meetings)

    def doubles(self, nccl="nccl-double", **environment):
        """From now on jobs find the doubles where they look for the libraries."""
        folder = self.path("gpu-" + nccl)
        os.mkdir(folder)
        os.symlink(f"{DOUBLES}/lib{nccl}.so", f"{folder}/libnccl.so.2")
        os.symlink(f"{DOUBLES}/libcudart-double.so", f"{folder}/libcudart.so.13")
        self.environment.update(LD_LIBRARY_PATH=folder, NCCL_DOUBLE_DIR=self.meetings,
                                **environment)

    def run_nccl(self, workers, *command, options=(), **more):
        return self.job("--backend", "nccl", "--workers", str(workers), *options, "--", *command,
                        **more)


class Doubles(NcclTest):
    def test_sums_are_exact_for_any_world(self):
        self.doubles()
        for workers, hosts in (1, 1), (2, 1), (3, 1), (4, 2), (3, 2):
            with self.subTest(workers=workers, hosts=hosts):
                options = ["--shards", "8"] + (["--virtual-hosts", str(hosts)] * (hosts > 1))
                for reduce in "sum", "average", "weighted":
                    job = self.run_nccl(workers, *sumcheck(15, "--verify-state", "--types",
                                                           "--reduce", reduce), options=options)
                    job.finishes()
                    self.assertEqual(job.output().count("sumcheck: ok"), workers, job.output())
                    self.assertEqual(job.events("recovered"), [])

    def torrent(self, kills, *options, more=()):
        # On a GPU the sum of a step dies with the one rank that has it, and is made again.
        self.storm(kills, self.random, 0.3, "--backend", "nccl", *options, "--",
                   *sumcheck(1000000, "--verify-state", *more, pace_us=4000), again=1)

    def test_storm(self):
        print(f"REKNIT_SEED={SEED}")
        self.doubles()
        self.torrent(KILLS)
        self.assertTrue(any("-without-" in name for name in os.listdir(self.meetings)),
                        "no communicator was ever shrunk")

    def test_storm_on_two_hosts(self):
        self.doubles()
        self.torrent(KILLS // 2, "--virtual-hosts", "2")

    def test_storm_of_averages(self):
        self.doubles()
        self.torrent(KILLS // 2, more=["--reduce", "weighted", "--types"])

    def test_storm_with_an_older_nccl(self):
        """One that can neither shrink nor revoke: each generation meets by a new id."""
        self.doubles("nccl-double-no-shrink")
        self.torrent(8)
        self.assertFalse(any("-without-" in name for name in os.listdir(self.meetings)))

    def test_the_coordinator_is_lost(self):
        self.doubles()
        job = self.run_nccl(3, *sumcheck(400, "--verify-state", pace_us=5000))
        status = job.wait_whole(3, 20)
        kill(status["coordinator_pid"], ranks_of(status)[1]["pid"])
        job.finishes()
        self.assertEqual(job.output().count("sumcheck: ok"), 3, job.output())

    def test_fast(self):
        self.doubles()
        job = self.run_nccl(3, *sumcheck(150, "--fast", pace_us=10000),
                            options=["--reduction", "fast"])
        status = job.wait_whole(3, 3)
        kill(ranks_of(status)[1]["pid"])
        job.finishes()
        job.recovered_in_place(1)
        seen = re.findall(r"sumcheck: ok rank=\d+ .* seen=([0-9a-f]{16})", job.output())
        self.assertEqual((len(seen), len(set(seen))), (3, 1), job.output())

    def struck(self, fault, *options):
        """A job of three ranks, one of which the double has just done `fault` to."""
        once = self.path("once")
        self.doubles(**{fault: once})
        job = self.run_nccl(3, *sumcheck(200, "--verify-state", pace_us=5000), options=options)
        pids = {r: v["pid"] for r, v in ranks_of(job.wait_whole(3, 5)).items()}
        with open(once, "w", encoding="utf-8"):
            pass
        return job, pids

    def same_ranks_meet_again(self, job, pids):
        job.wait_event("recovered")
        status = job.wait_whole(3)
        self.assertEqual({r: v["pid"] for r, v in ranks_of(status).items()}, pids)
        job.finishes()
        self.assertEqual(job.events("rank_exited"), [])

    def test_a_communicator_fails_with_nobody_lost(self):
        self.same_ranks_meet_again(*self.struck("NCCL_DOUBLE_OP_ONCE"))

    def test_a_communicator_hangs_with_nobody_lost(self):
        """Nothing fails and nothing moves: with --stall-timeout the same ranks meet again."""
        job, pids = self.struck("NCCL_DOUBLE_HANG_ONCE", "--stall-timeout", "1s")
        self.same_ranks_meet_again(job, pids)
        self.assertIn("no program kept it waiting", job.output())

    def test_a_dead_gpu_ends_the_job(self):
        """Its operations do not end when they are stopped, so no meeting helps; nobody waits on."""
        job, _ = self.struck("NCCL_DOUBLE_DEAD_ONCE", "--stall-timeout", "1s")
        job.finishes(69)
        self.assertRegex(job.output(), "communicators failed again and again with nobody lost: "
                                       ".*no program kept it waiting")

    def test_communicators_that_always_fail_end_the_job(self):
        self.doubles(NCCL_DOUBLE_OP="fail")
        job = self.run_nccl(2, *sumcheck(10))
        job.finishes(69)
        self.assertRegex(job.output(), "communicators failed again and again with nobody lost: "
                                       r"rank \d of 2: .*remote process exited")

    def test_what_does_not_fit_is_told(self):
        self.doubles()
        job = self.job("--workers", "2", "--", *sumcheck(10))
        job.finishes(1)
        self.assertRegex(job.output(), "gradients lie on a GPU, .*--backend nccl")
        job = self.run_nccl(2, program("sumcheck"), "--steps", "10")
        job.finishes(1)
        self.assertRegex(job.output(), "the job sums on GPUs; .*--backend mpi")

    def test_no_gpu_is_told(self):
        self.doubles(CUDA_DOUBLE_FAIL="cudaSetDevice")
        job = self.run_nccl(2, *sumcheck(10))
        job.finishes(1)
        self.assertRegex(job.output(), "no CUDA-capable device is detected .*nvidia-smi")

    @unittest.skipIf(SANITIZED, "the sanitizer does not let its players be loaded first")
    def test_chargpt(self):
        """One digest for any world; a checkpoint goes from one kind of processor to the other."""
        self.doubles(LD_PRELOAD=f"{DOUBLES}/libchargpt-players.so")
        digests = set()
        for workers in 1, 3:
            folder = self.path(f"c{workers}")
            self.run_nccl(workers, *chargpt(4, "cuda"), options=["--shards", "8"],
                          checkpoints=folder).finishes()
            digests.add(self.digest(folder))
        self.assertEqual(len(digests), 1)
        job = self.job("--workers", "2", "--shards", "8", "--", *chargpt(6, "cpu"),
                       checkpoints=folder)
        job.finishes()
        self.assertEqual(job.events("generation_started")[0]["step"], 4)
        job = self.run_nccl(2, *chargpt(8, "cuda"), options=["--shards", "8"], checkpoints=folder)
        job.finishes()
        self.assertEqual(job.events("generation_started")[0]["step"], 6)


@unittest.skipUnless(os.path.exists("/dev/nvidia0"), "there is no GPU here")
class Real(NcclTest):
    def test_one_rank(self):
        job = self.run_nccl(1, *sumcheck(50, "--verify-state", grad_kb=4096))
        job.finishes()

    def test_two_ranks_on_one_gpu(self):
        """NCCL refuses two ranks of one host on one GPU; told that they are of two, it goes by way
        of sockets."""
        job = self.run_nccl(2, "/bin/sh", "-c", 'NCCL_HOSTID=rank$RANK exec "$@"', "sh",
                            *sumcheck(400, "--verify-state", pace_us=10000, grad_kb=1024))
        kill(ranks_of(job.wait_whole(2, 5))[1]["pid"])
        job.finishes()
        job.recovered_in_place(1)


if __name__ == "__main__":
    unittest.main()
