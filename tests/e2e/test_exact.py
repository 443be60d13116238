"""The sum is that of the fixed tree, bit for bit, for any number of ranks and hosts, wherever
gradients lie, of whatever type they are, in whatever order and buckets they are summed, and however
averaged: sumcheck compares every element with a serial sum."""
import unittest

from reknit_test import SANITIZED, JobTest, program

# workers, hosts, shards, memory, KB of a bucket
SHAPES = [(1, 1, 8, "arena", 4), (2, 1, 2, "arena", 1024), (3, 1, 4, "own", 8),
          (5, 1, 8, "fused", 4), (6, 1, 64, "arena", 16), (8, 2, 8, "arena", 4),
          (9, 1, 16, "own", 4), (12, 3, 16, "fused", 8), (16, 1, 16, "arena", 4),
          (16, 4, 32, "arena", 12), (7, 4, 8, "own", 1024), (4, 4, 4, "fused", 4)]
# workers, hosts, shards, memory, how it is averaged
AVERAGES = [(3, 1, 8, "own", "weighted"), (2, 2, 4, "arena", "weighted"),
            (5, 3, 16, "arena", "average"), (4, 1, 8, "fused", "average"),
            (6, 2, 64, "own", "average"), (7, 3, 32, "own", "weighted")]


class Exact(JobTest):
    def check(self, workers, hosts, shards, *options):
        job = self.job("--workers", str(workers), "--virtual-hosts", str(hosts), "--shards",
                       str(shards), "--", program("sumcheck"), "--steps", "12", "--grad-kb", "37",
                       "--check-all", "--verify-state", *options)
        job.finishes()
        self.assertEqual(job.output().count("sumcheck: ok"), workers)

    def test_every_element(self):
        for workers, hosts, shards, memory, bucket in SHAPES[:6] if SANITIZED else SHAPES:
            with self.subTest(workers=workers, hosts=hosts, shards=shards, memory=memory):
                self.check(workers, hosts, shards, "--memory", memory, "--bucket-kb", str(bucket))

    def test_averages_and_types(self):
        for workers, hosts, shards, memory, reduce in AVERAGES[:3] if SANITIZED else AVERAGES:
            with self.subTest(workers=workers, hosts=hosts, memory=memory, reduce=reduce):
                types = [] if memory == "fused" else ["--types"]
                self.check(workers, hosts, shards, "--memory", memory, "--bucket-kb", "4",
                           "--reduce", reduce, *types)


if __name__ == "__main__":
    unittest.main()
