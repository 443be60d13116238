"""From kill -9 of a rank to the next finished step, in place, four ranks, 4 MB of gradients."""
import json
import unittest

from reknit_test import JobTest


class RecoveryTime(JobTest):
    def test_twenty_kills_each_in_place(self):
        seen = json.loads(self.reknit("bench", "recovery", "--json").splitlines()[-1])
        print(seen)  # how long it took is for people: machines are noisy
        self.assertEqual(seen["kills"], 20)
        self.assertEqual(seen["in_place"], 20)
        self.assertEqual(seen["lost_steps"], 0)
        self.assertGreater(seen["step_ms"], 0)
        self.assertGreater(seen["p50_ms"], seen["sum_p50_ms"])
        self.assertGreater(seen["sum_p50_ms"], 0)
        self.assertGreater(seen["new_p50_ms"], 0)
        self.assertLessEqual(seen["new_p50_ms"], seen["new_p90_ms"])
        self.assertLessEqual(seen["p50_ms"], seen["p90_ms"])
        self.assertLessEqual(seen["p90_ms"], seen["max_ms"])


if __name__ == "__main__":
    unittest.main()
