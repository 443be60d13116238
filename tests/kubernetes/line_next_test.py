#!/usr/bin/env python3
"""A user's own mpirun line in images of the next Debian: Open MPI 5, whose daemons are PRRTE's, and
a newer MPICH.  Nothing of this machine's is in them: the agent brings its own libraries.

Their root is the one that tests/kubernetes/run makes and keeps; skipped (77) where it is not kept,
unless --fetch is given, which makes it.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from line_case import PROGRAM, RESTRICTED, LineCase
from pods_case import BUILD, ROOT

sys.path[:0] = [os.path.join(ROOT, "tests", "kubernetes", "cluster"),
                os.path.join(ROOT, "k8s", "image")]
import binaries  # noqa: E402
import debian  # noqa: E402
import image  # noqa: E402

# All pods here have one address, to which the kernel's table has no route that this would take.
SAME_ADDRESS = "{name: OMPI_MCA_reachable, value: weighted}"


class NextDebian(LineCase):
    """With the implementations of MPI of the next Debian."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        root, agent = (os.path.join(cls.scratch, name) for name in ("root", "agent"))
        os.mkdir(root)
        os.mkdir(agent)
        subprocess.run(["tar", "-xf", image.next_base(binaries.cache_folder()), "-C", root],
                       check=True, timeout=300)
        subprocess.run([os.path.join(ROOT, "k8s", "image", "bundle"),
                        os.path.join(agent, "reknit"), "--build", BUILD], check=True, timeout=300)
        cls.sim.control("image", name="next:1", root=root)
        cls.sim.control("image", name="agent:1", folder=agent)

    def begin(self, name, *command, **more):
        super().begin(name, *command, **{"image": "next:1", "env": SAME_ADDRESS, **more})

    def computes(self, name):
        """Waits for the end; each rank was in a pod of its own."""
        self.assertEqual("Complete", self.ended(name), self.launcher_log(name))
        for rank in range(3):
            self.assertRegex(self.launcher_log(name),
                             rf"rank {rank} of 3 on {name}-worker-{rank}: pi is 3\.14159")

    def test_open_mpi(self):
        self.begin("five", "mpirun", "-np", "3", PROGRAM)
        self.computes("five")

    def test_open_mpi_by_hosts(self):
        """As in "mpirun -H a:1,b:1", and a hostfile that is named."""
        self.begin("hosts", "sh", "-c", "mpirun -H $(sed 's/ slots=/:/' /etc/mpi/hostfile |"
                                        f" paste -sd,) {PROGRAM}")
        self.begin("file", "mpirun", "--hostfile", "/etc/mpi/hostfile", PROGRAM)
        self.computes("hosts")
        self.computes("file")

    def test_a_lost_worker(self):
        self.begin("loss", "mpirun", "-np", "3", PROGRAM, "60", "50", "/checkpoints")
        self.wait_for_ranks()
        self.kill_pod("loss-worker-1")
        self.assertEqual("Complete", self.ended("loss"))
        log = self.launcher_log("loss")
        self.assertRegex(log, "run 2 of the command starts on 3 of 3 workers: "
                              "worker loss-worker-1 is lost")
        self.assertRegex(log, "rank 1 of 3 on loss-worker-1-1")

    def test_its_own_failure(self):
        self.begin("wrong", "mpirun", "-np", "3", "sh", "-c", "exit 7")
        self.assertEqual("Failed", self.ended("wrong"))
        self.assertRegex(self.launcher_log("wrong"),
                         "exit code 7: its command failed, and no worker was lost")

    def test_a_read_only_root(self):
        self.open_to_all()
        self.begin("fixed", "mpirun", "-np", "3", PROGRAM, security=RESTRICTED)
        self.computes("fixed")

    def test_mpich(self):
        self.begin("hydra", "mpiexec.hydra", "-n", "3", "sh", "-c",
                   "echo $PMI_RANK is on $(hostname)", mpi="MPICH",
                   env="{name: HYDRA_IFACE, value: lo}")
        self.assertEqual("Complete", self.ended("hydra"))
        found = re.findall(r"(\d) is on (\S+)", self.launcher_log("hydra"))
        self.assertEqual([(str(i), f"hydra-worker-{i}") for i in range(3)], sorted(found))


def lacks():
    """What this test needs and this machine lacks, or None."""
    if os.geteuid() != 0:
        return "the pods of this test are made by root"
    for what in (shutil.which("patchelf"), os.path.join(BUILD, "bin", "reknit-install")):
        if not what or not os.path.exists(what):
            return "no bundle can be made (patchelf and a build without sanitizers are needed)"
    if not image.next_base(binaries.cache_folder()):
        return f"no Debian {debian.NEXT} is kept here; --fetch, or tests/kubernetes/run, makes one"
    return None


if __name__ == "__main__":
    if "--fetch" in sys.argv:
        sys.argv.remove("--fetch")
        try:
            image.base(binaries.cache_folder(), *image.NEXT_PACKAGES, release=debian.NEXT)
        except (debian.Missing, OSError) as missing:
            print(f"skipped: {missing}")
            sys.exit(77)
    why = lacks()
    if why:
        print(f"skipped: {why}")
        sys.exit(77)
    unittest.main(verbosity=2)
