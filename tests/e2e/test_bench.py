"""The benchmarks run, check what they sum, and say all they promise; how fast is not asked here."""
import json
import unittest
import xml.etree.ElementTree

from reknit_test import JobTest


class Bench(JobTest):
    def result(self, *arguments):
        return json.loads(self.reknit("bench", *arguments, "--json"))

    def test_allreduce(self):
        chart = self.path("chart.svg")
        result = self.result("allreduce", "--sizes", "4K,96K", "--rounds", "1", "--svg", chart)
        self.assertEqual([size["bytes"] for size in result["sizes"]], [4096, 98304])
        for size in result["sizes"]:
            for name in ("limit_us", "ours_us", "ours_own_memory_us", "openmpi_us",
                         "openmpi_tuned_us", "ratio_limit", "ratio_openmpi", "ratio_openmpi_tuned",
                         "ours_fast_us", "ratio_exact_fast", "algbw_gb_per_s", "busbw_gb_per_s"):
                self.assertGreater(size[name], 0, name)
            for engine in ("gloo", "mpich"):  # there, or named as missing
                self.assertEqual(size[f"{engine}_us"] is None, engine in result["missing"])
        self.assertEqual(xml.etree.ElementTree.parse(chart).getroot().tag,
                         "{http://www.w3.org/2000/svg}svg")

    def test_allreduce_over_hosts(self):
        result = self.result("allreduce", "--sizes", "64K", "--rounds", "1", "--ranks", "4",
                             "--virtual-hosts", "2")
        self.assertEqual((result["ranks"], result["hosts"]), (4, 2))
        size = result["sizes"][0]
        self.assertGreater(size["ours_us"], 0)
        self.assertAlmostEqual(size["algbw_gb_per_s"] * 2 * 3 / 4, size["busbw_gb_per_s"], 2)

    def test_allreduce_where_the_world_does_not_divide_the_shards(self):
        for hosts in "1", "3":
            result = self.result("allreduce", "--sizes", "64K", "--rounds", "1", "--ranks", "3",
                                 "--shards", "8", "--virtual-hosts", hosts)
            self.assertEqual((result["ranks"], result["shards"]), (3, 8))
            self.assertGreater(result["sizes"][0]["ratio_exact_fast"], 0)

    def test_overlap(self):
        size = self.result("overlap", "--sizes", "2M", "--rounds", "1")["sizes"][0]
        for name in ("write_us", "added_at_end_us", "added_openmpi_us", "fused_sgd_us",
                     "openmpi_sgd_us", "ratio_fused"):
            self.assertGreater(size[name], 0, name)
        self.assertGreaterEqual(size["added_overlap_us"], 0)

    def test_wrong_options(self):
        for arguments, word in (("--sizes 1X", "1X"), ("--sizes 4", "4"), ("--shards 3", "power"),
                                ("--ranks 4 --shards 2", "4 or more"),
                                ("--virtual-hosts 4", "virtual-hosts"), ("extra", "extra")):
            with self.subTest(arguments=arguments):
                said = self.reknit("bench", "allreduce", *arguments.split(), code=64)
                self.assertIn(word, said)

    def test_recovery_wrong_options(self):
        for arguments, word in (("--kill cat", "mpirun"), ("--kill host --virtual-hosts 1", "host"),
                                ("--standby-carriers maybe", "yes or no"),
                                ("--virtual-hosts 8", "--workers 4")):
            with self.subTest(arguments=arguments):
                said = self.reknit("bench", "recovery", *arguments.split(), code=64)
                self.assertIn(word, said)


if __name__ == "__main__":
    unittest.main()
