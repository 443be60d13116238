#!/usr/bin/env python3
"""The ways in which people write their lines, and in which an mpirun that cannot be had calls its
launch agent."""
import os
import re
import shutil
import sys
import unittest

from line_case import PROGRAM, RESTRICTED, LineCase

HERE = os.path.dirname(os.path.abspath(__file__))
AT_ONCE = 4

# Ways to write a line; each prints the host names of both workers.
WAYS = {
    "shell": ["sh", "-c", "cd /tmp && mpirun -np 2 hostname; exit $?"],
    "login": ["bash", "-lc", "mpirun -np 2 hostname"],
    "path": ["/usr/bin/mpirun", "-np", "2", "hostname"],
    "export": ["sh", "-c", "WORD='two words' mpirun -x WORD -np 2 sh -c"
                           " 'test \"$WORD\" = \"two words\" && hostname'"],
    "file": ["mpirun", "--hostfile", "/etc/mpi/hostfile", "hostname"],
    "hosts": ["sh", "-c",
              "mpirun -H $(sed 's/ slots=/:/' /etc/mpi/hostfile | paste -sd,) hostname"],
    "discover": ["sh", "-c",
                 "until [ $(/etc/mpi/discover_hosts.sh | wc -l) = 2 ]; do sleep 1; done;"
                 " mpirun --host $(/etc/mpi/discover_hosts.sh | paste -sd,) hostname"],
    "mca": ["mpirun", "--mca", "btl", "self,tcp", "-bind-to", "none", "-npernode", "1", "hostname"],
}


class Ways(LineCase):
    """On this machine's Open MPI."""

    def test_ways_to_write_a_line(self):
        for some in (list(WAYS)[:AT_ONCE], list(WAYS)[AT_ONCE:]):
            for name in some:
                self.begin(name, *WAYS[name], workers=2)
            for name in some:
                ended = self.ended(name)
                log = self.launcher_log(name)
                self.assertEqual("Complete", ended, log)
                found = re.findall(rf"^{name}-worker-\d$", log, re.M)
                self.assertEqual([f"{name}-worker-0", f"{name}-worker-1"], sorted(found), log)

    def test_intel_mpi_as_far_as_it_is_known(self):
        """Its two ways to call a launch agent, by a stand-in (stand_in_intel.py)."""
        for name in ("mpirun", "hydra_bstrap_proxy"):
            shutil.copy2(os.path.join(HERE, "stand_in_intel.py"),
                         os.path.join(self.checkpoints, name))
        for server in ("ssh", "rsh"):
            self.begin(server, "/checkpoints/mpirun", "-n", "3", "sh", "-c",
                       "echo $PMI_RANK is on $(hostname)", mpi="Intel",
                       env=f"{{name: I_MPI_HYDRA_BOOTSTRAP, value: {server}}},"
                           "{name: I_MPI_HYDRA_IFACE, value: lo}")
            self.assertEqual("Complete", self.ended(server))
            found = re.findall(r"(\d) is on (\S+)", self.launcher_log(server))
            self.assertEqual([(str(i), f"{server}-worker-{i}") for i in range(3)], sorted(found))

    def test_a_hostfile_that_was_of_more_workers(self):
        """The volume of /etc/mpi lags behind: no run begins with hosts in it that are gone."""
        self.sim.control("plan", name="few-worker-?-1", namespace=self.space,
                         pull_error="ImagePullBackOff")
        self.begin("few", "mpirun", "--hostfile", "/etc/mpi/hostfile", PROGRAM, "60", "50",
                   "/checkpoints",
                   annotations=', reknit.dev/min-workers: "2", reknit.dev/gather: "15s"')
        self.wait_for_ranks()
        self.delete("pods", "few-worker-0")
        self.assertEqual("Complete", self.ended("few"))
        self.assertEqual(["3", "2"], self.runs("few"))

    def test_an_old_host(self):
        """A host that is not there is not waited for: the line runs again, as often as it may."""
        self.sim.control("plan", name="old-worker-?-1", namespace=self.space,
                         pull_error="ImagePullBackOff")
        self.begin("old", "mpirun", "-H", "old-worker-0:1,old-worker-1:1", PROGRAM, "60", "50",
                   workers=2, annotations=', reknit.dev/min-workers: "1", reknit.dev/gather: "15s",'
                                          ' reknit.dev/max-restarts: "2"')
        self.seen("old", "run 1 of the command starts on 2 of 2")
        self.delete("pods", "old-worker-0")
        self.assertEqual("Failed", self.ended("old"))
        self.assertEqual(["2", "1", "1"], self.runs("old"))
        self.assertRegex(self.launcher_log("old"),
                         "exit code 75: the command asked for worker old-worker-0, which is not "
                         "there; that is more than 2 restarts")

    def test_a_read_only_root(self):
        """Any user, no capability, and no /tmp."""
        self.open_to_all()
        self.begin("fixed", "mpirun", "-np", "3", PROGRAM, security=RESTRICTED)
        self.assertEqual("Complete", self.ended("fixed"))
        self.assertRegex(self.launcher_log("fixed"), "rank 2 of 3 on fixed-worker-2: pi is 3")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: the pods of this test are made by root")
        sys.exit(77)
    unittest.main(verbosity=2)
