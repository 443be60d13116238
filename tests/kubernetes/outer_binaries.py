"""The cache of programs: kept when whole, made anew when damaged, never taken when half made."""
import json
import os
import tempfile
import unittest
from unittest import mock

import binaries


class OuterBinaries(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = os.path.join(folder.name, "cache")
        self.made = 0
        self.fails = False
        patch = mock.patch.object(binaries.Build, "into", self.make)
        patch.start()
        self.addCleanup(patch.stop)

    def make(self, folder):
        """In a build's place: the same layout, one file."""
        self.made += 1
        os.makedirs(os.path.join(folder, "bin"))
        path = os.path.join(folder, "bin", "kubelet")
        with open(path, "w", encoding="utf-8") as f:
            f.write("program")
        if self.fails:
            raise RuntimeError("the compiler has ended")
        with open(os.path.join(folder, binaries.MADE), "w", encoding="utf-8") as f:
            json.dump({"files": {"bin/kubelet": binaries.digest(path)}}, f)

    def ensure(self):
        return binaries.ensure(self.cache)

    def test_built_once(self):
        self.assertEqual(self.ensure(), self.ensure())
        self.assertEqual(self.made, 1)

    def test_half_a_build_is_not_taken(self):
        self.fails = True
        self.assertRaises(RuntimeError, self.ensure)
        self.fails = False
        self.assertTrue(binaries.is_whole(self.ensure()))
        self.assertEqual(self.made, 2)
        self.assertEqual(sorted(os.listdir(self.cache)),
                         sorted([os.path.basename(self.ensure()), "kubernetes.lock"]))

    def test_damage_is_seen(self):
        path = os.path.join(self.ensure(), "bin", "kubelet")
        with open(path, "w", encoding="utf-8") as f:
            f.write("progran")
        self.assertTrue(binaries.is_whole(self.ensure()))
        self.assertEqual(self.made, 2)

    def test_lost_file_is_seen(self):
        os.unlink(os.path.join(self.ensure(), "bin", "kubelet"))
        self.assertTrue(binaries.is_whole(self.ensure()))
        self.assertEqual(self.made, 2)

    def test_what_a_killed_build_left_is_removed(self):
        left = os.path.join(self.cache, binaries.BUILDING + "x")
        os.makedirs(left)
        self.ensure()
        self.assertFalse(os.path.exists(left))

    def test_another_recipe_is_another_folder(self):
        first = self.ensure()
        with mock.patch.object(binaries, "TAGS", "other"):
            self.assertNotEqual(self.ensure(), first)


if __name__ == "__main__":
    unittest.main()
