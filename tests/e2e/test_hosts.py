"""Two hosts with two ranks each, as network namespaces with host names of their own: a rank lost, a
host lost, a carrier lost, mpirun lost.  The test makes its namespaces and takes them away."""
import os
import subprocess
import unittest

from reknit_test import JobTest, chargpt, kill, ranks_of

STEPS = 200
PACE = 20
SKIPPED = 77  # ctest: not run here


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def can_make_hosts():
    name = f"rkprobe{os.getpid()}"
    if os.geteuid() != 0:
        return False
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    ip("netns", "del", name)
    return True


RSH = """#!/bin/sh
# Runs a command on a host: its address names its namespace.
case $1 in -*) shift ;; esac
name={prefix}${{1##*.}}
shift
exec ip netns exec $name unshare --uts sh -c "hostname $name; $*"
"""


class Hosts(JobTest):
    def setUp(self):
        super().setUp()
        prefix = f"rk{os.getpid() % 100000}h"
        self.names = {f"10.78.5.{n}": f"{prefix}{n}" for n in (1, 2)}
        self.addCleanup(self.remove_hosts)
        self.make_hosts()
        self.rsh = self.path("rsh")
        with open(self.rsh, "w", encoding="utf-8") as f:
            f.write(RSH.format(prefix=prefix))
        os.chmod(self.rsh, 0o755)
        self.hosts = self.path("hosts")
        with open(self.hosts, "w", encoding="utf-8") as f:
            f.write("".join(f"{address} slots=2\n" for address in self.names))

    def make_hosts(self):
        first, second = self.names.values()
        for name in (first, second):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "veth0", "netns", first, "type", "veth", "peer", "name", "veth0",
           "netns", second)
        for address, name in self.names.items():
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "veth0")
            ip("-n", name, "link", "set", "veth0", "up")

    def pids_in(self, name):
        run = subprocess.run(["ip", "netns", "pids", name], text=True, stdout=subprocess.PIPE,
                             check=False)
        return [int(pid) for pid in run.stdout.split()]

    def remove_hosts(self):
        for name in self.names.values():
            kill(*self.pids_in(name))
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def start(self, *options, command=chargpt(pace=PACE)):
        """A job whose `reknit run` is on the first host."""
        folder = self.path("c")
        first = next(iter(self.names.values()))
        prefix = ("ip", "netns", "exec", first, "unshare", "--uts", "sh", "-c",
                  f'hostname {first}; exec "$@"', "sh")
        job = self.job("--workers", "2", "--slots", "2", "--hosts", self.hosts, "--rsh", self.rsh,
                       *options, "--", *command, checkpoints=folder, prefix=prefix)
        return job, folder

    def ends_well(self, job, folder, losses=1):
        self.ends_undisturbed(job, folder)
        job.recovered_in_place(losses)

    def test_undisturbed(self):
        job, folder = self.start("--interface", "10.78.5.0/24", command=chargpt(STEPS))
        job.finishes()
        self.assertEqual(job.events("recovered"), [])
        self.assertEqual(self.digest(folder), self.reference(STEPS))

    def test_unknown_interface(self):
        job, _ = self.start("--interface", "nonsense0")
        job.finishes(69)
        self.assertIn("no interface named 'nonsense0'; it has lo (127.0.0.1), veth0 (10.78.5.",
                      job.output())

    def test_rank_lost(self):
        job, folder = self.start()
        status = job.wait_whole(4, 10)
        self.assertEqual(len({r["host"] for r in ranks_of(status).values()}), 2)
        for rank in (0, 3):
            kill(ranks_of(status)[rank]["pid"])
            status = job.wait_whole(4, status["step"] + 2)
        self.ends_well(job, folder, 2)

    def test_host_lost(self):
        job, folder = self.start()
        status = job.wait_whole(4, 10)
        survivors = [r["pid"] for r in ranks_of(status).values()]
        second = list(self.names.values())[1]
        lost = self.pids_in(second)
        kill(*lost)
        status = job.wait_status(lambda s: s["generation"] > status["generation"]
                                 and s["step"] > status["step"] + 2, "steps after the loss")
        kept = {r["pid"] for r in ranks_of(status).values()}
        self.assertTrue({p for p in survivors if p not in lost} <= kept)
        self.ends_well(job, folder)

    def test_link_cut(self):
        """A host that nobody reaches any more is out; the other goes on."""
        job, folder = self.start()
        status = job.wait_whole(4, 10)
        second = list(self.names.values())[1]
        ip("-n", second, "link", "set", "veth0", "down")
        job.wait_event("worker_lost")
        job.wait_step(status["step"] + 5)
        self.ends_well(job, folder)

    def lose_carriers(self, pids_of):
        job, folder = self.start()
        status = job.wait_whole(4, 10)
        ranks = {r: o["pid"] for r, o in ranks_of(status).items()}
        for _ in range(3):
            status = job.wait_status(lambda s: len(s["carriers"]) == 2, "a carrier on each host")
            kill(*pids_of(job, status))
            status = job.wait_whole(4, status["step"] + 5)
            self.assertEqual({r: o["pid"] for r, o in ranks_of(status).items()}, ranks)
        self.ends_undisturbed(job, folder)
        self.assertEqual([e for e in job.events("recovered") if e["lost_steps"] != 0], [])

    def test_carrier_lost(self):
        self.lose_carriers(lambda job, status: [status["carriers"][-1]["pid"]])

    def test_mpirun_lost(self):
        def mpirun(job, _):
            pids = job.pids_of_command("mpirun") + job.pids_of_command("orterun")
            self.assertTrue(pids)
            return pids

        self.lose_carriers(mpirun)


if __name__ == "__main__":
    if not can_make_hosts():
        print("network namespaces cannot be made here: not run")
        raise SystemExit(SKIPPED)
    unittest.main()
