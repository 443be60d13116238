"""However a run ends, nothing of it stays: processes, control groups, mounts, settings, files."""
import os
import signal
import subprocess
import sys
import unittest

import cgroups
import cluster_test
import ground
import traces
from process import wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ENTER = """
import ground, signal, sys
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
sys.exit(ground.enter(sys.argv[1:]))
"""
# A process in the run's control group that cannot be killed before somebody thaws it.
FROZEN = """
name=${REKNIT_GROUND##*/}
sleep 1000 &
if [ -d /sys/fs/cgroup/freezer ]; then
    cd /sys/fs/cgroup/freezer/$name && echo $! >tasks && echo FROZEN >freezer.state || exit 1
else
    cd /sys/fs/cgroup/$name && echo $! >cgroup.procs && echo 1 >cgroup.freeze || exit 1
fi
echo $REKNIT_GROUND
sleep 1000
"""
# A whole cluster with a pod that runs.
PODS = """
import sys
from cluster import Cluster
with Cluster(sys.argv[1]) as cluster:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "still"},
           "spec": {"containers": [{"name": "main", "image": "localhost/pause:1",
                                    "imagePullPolicy": "Never"}]}}
    cluster.create(pod)
    cluster.kubectl("wait", "pod/still", "--for=condition=Ready", "--timeout=60s")
    print(cluster.folder, flush=True)
    while True:
        input()
"""


class OuterGround(unittest.TestCase):
    def setUp(self):
        self.before = traces.look()

    def start(self, *line):
        """A run of its own that says its folder when it is up; (process, folder)."""
        run = subprocess.Popen([sys.executable, "-c", ENTER, *line], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for end in (run.stdout.close, run.stdin.close, run.wait, run.kill):
            self.addCleanup(end)
        folder = run.stdout.readline().strip()
        self.assertTrue(os.path.basename(folder).startswith(ground.NAME), f"said {folder!r}")
        self.assertTrue(ground.left_of(folder))
        return run, folder

    def nothing_left(self, folder=None):
        if folder:
            wait_for(lambda: not os.path.exists(folder), lambda: ground.left_of(folder), 60)
            self.assertEqual(ground.left_of(folder), [])
        self.assertEqual(traces.compare(self.before, traces.look()), [])

    def test_exit_code_and_folder(self):
        script = ("test -d $REKNIT_GROUND && test $$ -lt 10 && ip link show lo | grep -q UP && "
                  "exit 7")
        self.assertEqual(ground.enter(["sh", "-c", script]), 7)
        self.nothing_left()

    def test_command_that_is_killed(self):
        self.assertEqual(ground.enter(["sh", "-c", "sleep 1000 & kill -9 $$"]), 137)
        self.nothing_left()

    def test_run_that_is_killed(self):
        run, folder = self.start("sh", "-c", FROZEN)
        self.assertTrue(cgroups.members(os.path.basename(folder)))
        run.kill()
        self.nothing_left(folder)

    def test_run_that_is_asked_to_end(self):
        run, folder = self.start("sh", "-c", FROZEN)
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(60), 128 + signal.SIGTERM)
        self.assertFalse(os.path.exists(folder))
        self.nothing_left()

    def test_run_that_is_killed_with_its_keeper(self):
        run, folder = self.start("sh", "-c", FROZEN)
        os.kill(int(cgroups.read(os.path.join(folder, "keeper"))), signal.SIGKILL)
        run.kill()
        run.wait()
        self.assertTrue(os.path.exists(folder))
        self.addCleanup(ground.sweep)
        wait_for(lambda: folder in ground.leftovers(), f"nobody looks after {folder}")
        self.assertTrue(ground.left_of(folder))
        ground.sweep()
        self.assertFalse(os.path.exists(folder))
        self.nothing_left()

    def test_cluster_that_is_killed(self):
        run, folder = self.start(sys.executable, "-c", PODS, cluster_test.BINARIES)
        run.kill()
        self.nothing_left(folder)


if __name__ == "__main__":
    unittest.main()
