"""From kill -9 of a rank to the next finished step, in place, four ranks, 4 MB of gradients."""
import json
import unittest

from reknit_test import JobTest


class RecoveryTime(JobTest):
    def test_median_under_50_ms(self):
        seen = json.loads(self.reknit("bench", "recovery", "--json").splitlines()[-1])
        print(seen)
        self.assertLess(seen["p50_ms"], 50)
        self.assertLessEqual(seen["p50_ms"], seen["p90_ms"])
        self.assertLessEqual(seen["p90_ms"], seen["max_ms"])


if __name__ == "__main__":
    unittest.main()
