"""One job, one digest: for any number of workers and hosts, and another for another seed."""
import unittest

from reknit_test import SANITIZED, JobTest, chargpt

STEPS = 20
SHAPES = [(1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (4, 2), (3, 3), (4, 3)]


class Digest(JobTest):
    def run_shape(self, workers, hosts, seed=1):
        folder = self.path(f"c{workers}-{hosts}-{seed}")
        shape = ["--workers", str(workers)]
        if hosts > 1:
            shape += ["--virtual-hosts", str(hosts)]
        job = self.job(*shape, "--", *chargpt(STEPS, seed=seed), checkpoints=folder).finishes()
        self.assertEqual(job.events("recovered"), [])
        self.assertEqual(job.events("job_finished")[0]["steps"], STEPS)
        first = job.events("generation_started")[0]
        self.assertGreater(first["arena_bytes"], first["gradient_bytes"] + 2 * first["state_bytes"])
        return self.digest(folder)

    def test_same_for_all_shapes(self):
        shapes = [(1, 1), (3, 1), (3, 2)] if SANITIZED else SHAPES
        digests = {shape: self.run_shape(*shape) for shape in shapes}
        self.assertEqual(len(set(digests.values())), 1, digests)

    def test_another_seed_gives_another(self):
        self.assertNotEqual(self.run_shape(2, 1, seed=1), self.run_shape(2, 1, seed=2))


if __name__ == "__main__":
    unittest.main()
