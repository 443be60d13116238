#!/usr/bin/env python3
"""A user's own mpirun line in the coordinator's pod, on a simulated API server, without sshd."""
import os
import re
import shutil
import signal
import sys
import unittest

from line_case import PROGRAM, LineCase, wait_for

HYDRA = shutil.which("mpiexec.hydra")
STARTS = 20
AT_ONCE = 4

# What a test does with the launch agent by hand: `ssh HOST COMMAND`.
STREAMS = r"""
ssh=$OMPI_MCA_plm_rsh_agent
set -e
head -c 20000000 /dev/urandom > /tmp/there
$ssh -x -o Some=thing streams-worker-0 'cat; echo seen >&2' < /tmp/there > /tmp/back 2> /tmp/err
cmp /tmp/there /tmp/back
grep -q seen /tmp/err
$ssh -n -p 22 user@streams-worker-1.streams.ns.svc -q 'head -c 3000000 /dev/zero' |
    (sleep 1; wc -c) | grep -q 3000000
set +e
$ssh streams-worker-0 'exit 41'; echo "code $?"
$ssh streams-worker-0 'kill -KILL $$$$'; echo "code $?"
$ssh nobody true; echo "code $?"
$ssh $(hostname) 'echo "here on $(hostname)"'
$ssh streams-worker-1 'echo $$$$ > /checkpoints/pid; trap "" HUP TERM; sleep 1000 & wait' &
while [ ! -s /checkpoints/pid ]; do sleep 0.1; done
kill -KILL $!
$ssh streams-worker-1 'pid=$(cat /checkpoints/pid); while [ -d /proc/$pid ]; do sleep 0.1; done
    pgrep -x sleep | wc -l'
"""


class Line(LineCase):
    """With the implementations of MPI of this machine."""

    def test_open_mpi(self):
        self.begin("pi", "mpirun", "-np", "3", PROGRAM)
        self.assertEqual("Complete", self.ended("pi"))
        log = self.launcher_log("pi")
        for rank in range(3):
            self.assertRegex(log, rf"rank {rank} of 3 on pi-worker-{rank}: pi is 3\.14159")
        hosts = self.get("configmaps", "pi-config")["data"]["hostfile"]
        self.assertEqual([f"pi-worker-{i}.pi.{self.space}.svc slots=1" for i in range(3)],
                         hosts.splitlines())

    def test_open_mpi_in_the_launcher_too(self):
        self.begin("all", "mpirun", "-np", "3", PROGRAM, workers=2, works="true")
        self.assertEqual("Complete", self.ended("all"))
        log = self.launcher_log("all")
        for rank, host in enumerate(("launcher", "worker-0", "worker-1")):
            self.assertRegex(log, rf"rank {rank} of 3 on all-{host}: pi is 3\.14159")
        data = self.get("configmaps", "all-config")["data"]
        hosts = [f"all-{host}.all.{self.space}.svc" for host in
                 ("launcher", "worker-0", "worker-1")]
        self.assertEqual([f"{host} slots=1" for host in hosts], data["hostfile"].splitlines())
        self.assertEqual([f"echo {host}" for host in hosts],
                         data["discover_hosts.sh"].splitlines()[1:])

    def test_a_lost_worker_beside_the_launcher(self):
        self.begin("two", "mpirun", "-np", "3", PROGRAM, "60", "50", "/checkpoints", workers=2,
                   works="true")
        self.seen("two", "run 1 of the command starts on 2 of 2")
        self.wait_for_ranks()
        self.kill_pod("two-worker-1")
        self.assertEqual("Complete", self.ended("two"))
        log = self.launcher_log("two")
        self.assertRegex(log, "run 2 of the command starts on 2 of 2 workers: "
                              "worker two-worker-1 is lost")
        self.assertRegex(log, "rank 2 of 3 on two-worker-1-1")
        self.assertRegex(log, "rank 0 of 3 on two-launcher")

    def test_workers_with_a_command_of_their_own(self):
        """A script that ends with sshd, and one that goes on when sshd has made itself a daemon."""
        for name, script in (("stay", "exec /usr/sbin/sshd -De -p 2222"),
                             ("fork", "/usr/sbin/sshd\nsleep 1000\n")):
            with open(os.path.join(self.checkpoints, name), "w", encoding="utf-8") as entry:
                entry.write(script)
            self.begin(name, "mpirun", "-np", "3", PROGRAM,
                       worker=f"command: [sh, /checkpoints/{name}],")
            self.assertEqual("Complete", self.ended(name))
            self.assertRegex(self.launcher_log(name), rf"rank 2 of 3 on {name}-worker-2: pi is 3")

    @unittest.skipUnless(HYDRA, "MPICH's mpiexec.hydra is not installed")
    def test_mpich(self):
        # These pods' addresses are those of no interface, by which we would tell it.
        self.begin("hydra", HYDRA or "", "-n", "3", "sh", "-c", "echo this is $(hostname)",
                   mpi="MPICH", env="{name: HYDRA_IFACE, value: lo}")
        self.assertEqual("Complete", self.ended("hydra"))
        found = re.findall(r"this is (\S+)", self.launcher_log("hydra"))
        self.assertEqual([f"hydra-worker-{i}" for i in range(3)], sorted(found))

    def test_a_lost_worker(self):
        self.begin("loss", "mpirun", "-np", "3", PROGRAM, "60", "50", "/checkpoints")
        self.seen("loss", "run 1 of the command starts on 3 of 3")
        self.wait_for_ranks()
        self.kill_pod("loss-worker-1")
        self.assertEqual("Complete", self.ended("loss"))
        log = self.launcher_log("loss")
        self.assertRegex(log, "run 2 of the command starts on 3 of 3 workers: "
                              "worker loss-worker-1 is lost")
        self.assertRegex(log, "rank 1 of 3 on loss-worker-1-1")
        self.assertEqual(["3", "3"], self.runs("loss"))

    def test_a_deleted_worker_of_a_job_that_needs_two(self):
        self.sim.control("plan", name="few-worker-?-1", namespace=self.space,
                         pull_error="ImagePullBackOff")
        self.begin("few", "mpirun", PROGRAM, "60", "50", "/checkpoints",
                   annotations=', reknit.dev/min-workers: "2", reknit.dev/gather: "8s"')
        self.seen("few", "run 1 of the command starts on 3 of 3")
        self.wait_for_ranks()
        self.delete("pods", "few-worker-0")
        self.assertEqual("Complete", self.ended("few"))
        self.assertRegex(self.launcher_log("few"), "run 2 of the command starts on 2 of 3 workers")

    def test_resized(self):
        """New hosts count from the next run; a run whose hosts go begins anew, and is no loss."""
        self.begin("size", "mpirun", PROGRAM, "400", "50", "/checkpoints",
                   annotations=', reknit.dev/max-restarts: "0"')
        self.seen("size", "run 1 of the command starts on 3 of 3")
        self.wait_for_ranks()
        self.resize("size", 4)
        wait_for(lambda: "size-worker-3" in self.get(
            "configmaps", "size-config")["data"]["discover_hosts.sh"], "a new host", 60)
        self.assertEqual(["3"], self.runs("size"))
        self.resize("size", 2)
        self.seen("size", "run 2 of the command starts on 2 of 2 workers: .*fewer workers")
        wait_for(lambda: len(self.get("configmaps", "size-config")["data"]["hostfile"]
                             .splitlines()) == 2, "2 hosts", 60)
        self.assertEqual("Complete", self.ended("size"))
        self.assertEqual(["3", "2"], self.runs("size"))

    def test_its_own_failure(self):
        self.begin("wrong", "mpirun", "-np", "3", "sh", "-c", "echo no luck >&2; exit 7")
        self.assertEqual("Failed", self.ended("wrong"))
        log = self.launcher_log("wrong")
        self.assertRegex(log, "(?m)^no luck$")
        # Open MPI tells which process it was, unless all are gone before it says so
        self.assertRegex(self.kept("wrong", "end", "exit code"),
                         "exit code 7: its command failed, and no worker was lost; its last "
                         r"lines: .*(Process name: .*\| +Exit code: +7 |Primary job +terminated )")
        self.assertTrue(self.told("wrong", "JobFailed"))
        self.assertRegex(log, "exit code 7: its command failed, and no worker was lost")
        self.assertEqual(["3"], self.runs("wrong"))

    def test_too_many_losses(self):
        self.begin("storm", "mpirun", "-np", "3", PROGRAM, "1000", "50",
                   annotations=', reknit.dev/max-restarts: "1"')
        self.seen("storm", "run 1 of the command starts")
        self.kill_pod("storm-worker-0")
        self.seen("storm", "run 2 of the command starts")
        self.kill_pod("storm-worker-1")
        self.assertEqual("Failed", self.ended("storm"))
        self.assertRegex(self.launcher_log("storm"), "exit code 75: .* more than 1 restarts")

    def test_the_first_process_is_killed(self):
        self.begin("first", "mpirun", "-np", "3", PROGRAM, "60", "50", "/checkpoints", retries=3)
        self.seen("first", "run 1 of the command starts")
        self.wait_for_ranks()
        self.kill_process(self.launcher("first")["metadata"]["name"], "pods")
        self.assertEqual("Complete", self.ended("first"))
        self.assertRegex(self.launcher_log("first"),
                         "run 2 of the command starts on 3 of 3 workers: the first process")
        self.assertEqual(3, len(self.job_pods("first")))

    def signal(self, pod, number):
        """To all processes of a pod."""
        for pid in self.processes(pod):
            os.kill(pid, number)

    def test_a_frozen_worker(self):
        """Its kernel answers and it does not: silence ends the wait."""
        self.begin("ice", "mpirun", "-np", "3", PROGRAM, "60", "50", "/checkpoints")
        self.wait_for_ranks()
        self.signal("ice-worker-1", signal.SIGSTOP)
        self.assertEqual("Complete", self.ended("ice"))
        self.assertRegex(self.launcher_log("ice"), "ice-worker-1 is given up: silent for 8")

    def test_a_frozen_first_process(self):
        """Workers end what nobody answers for, and that is no failure of the command."""
        self.begin("halt", "mpirun", "-np", "3", PROGRAM, "160", "50", "/checkpoints")
        self.wait_for_ranks()
        launcher = self.launcher("halt")["metadata"]["name"]
        self.signal(launcher, signal.SIGSTOP)
        wait_for(lambda: "silence for" in self.log("halt-worker-2"), "a worker that gives up")
        self.signal(launcher, signal.SIGCONT)
        self.assertEqual("Complete", self.ended("halt"))
        self.assertRegex(self.launcher_log("halt"), "run 2 of the command starts on 3 of 3")

    def test_suspend_and_resume(self):
        self.begin("nap", "mpirun", "-np", "3", PROGRAM, "100", "50", "/checkpoints")
        self.wait_for_ranks()
        self.patch("jobs", "nap-launcher", {"spec": {"suspend": True}})
        wait_for(lambda: not self.list("pods")["items"], "no pods", 60)
        self.patch("jobs", "nap-launcher", {"spec": {"suspend": False}})
        self.assertEqual("Complete", self.ended("nap"))

    def test_streams(self):
        self.begin("streams", "sh", "-c", STREAMS, workers=2)
        ended = self.ended("streams")
        log = self.launcher_log("streams")
        self.assertEqual("Complete", ended, log)
        self.assertEqual(["41", "137", "255"], re.findall(r"^code (\d+)$", log, re.M), log)
        self.assertRegex(log, r"here on streams-launcher")
        self.assertEqual("0", log.split("here on")[1].split("\n")[1].strip(), log)

    def test_starts(self):
        """Pods that come late and in any order: no launch ever fails."""
        self.sim.control("plan", namespace=self.space, name="*-worker-*", pull=[0, 8])
        for first in range(0, STARTS, AT_ONCE):
            names = [f"s{n}" for n in range(first, first + AT_ONCE)]
            for name in names:
                self.begin(name, "mpirun", "-np", "2", "hostname", workers=2)
            for name in names:
                self.assertEqual("Complete", self.ended(name))
                self.assertEqual(["2"], self.runs(name))


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: the pods of this test are made by root")
        sys.exit(77)
    unittest.main(verbosity=2)
