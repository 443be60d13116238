"""The test cluster itself: its node runs pods, says how they end, and nothing of them stays."""
import os
import signal
import unittest

import cgroups
import cluster_test
import image
from cluster_test import NodeTest
from process import wait_for


class RealCluster(NodeTest):
    def test_node_is_ready(self):
        self.assertEqual(self.cluster.node_state("node1"), "True")
        info = self.get("node", "node1")["status"]["nodeInfo"]
        self.assertEqual(info["kubeletVersion"], "v1.20.2")
        self.assertTrue(info["containerRuntimeVersion"].startswith("containerd://"), info)

    def test_pod_runs_and_its_log_is_read(self):
        self.create(self.pod("speaker", "sh", "-c", "echo one; echo two >&2; id -u"))
        self.assertEqual(self.end_of("speaker")["exitCode"], 0)
        self.assertEqual(sorted(self.kubectl("logs", "speaker").split()), ["0", "one", "two"])

    def test_exit_code_and_signal(self):
        self.create(self.pod("three", "sh", "-c", "exit 3"),
                    self.pod("killed", "sh", "-c", "kill -9 $$ & wait; exit 137"))
        self.assertEqual((self.end_of("three")["exitCode"], self.end_of("three")["reason"]),
                         (3, "Error"))
        self.start_pod("victim", "sleep", "1000")
        os.kill(self.pids("victim")[0], signal.SIGKILL)
        self.assertEqual(self.end_of("victim")["exitCode"], 137)

    def test_out_of_memory(self):
        limits = {"resources": {"limits": {"memory": "32Mi"}}}
        self.create(self.pod("hungry", "perl", "-e", "$x .= 'x' x 1048576 while 1",
                             container=limits))
        end = self.end_of("hungry")
        self.assertEqual((end["exitCode"], end["reason"]), (137, "OOMKilled"))

    def test_exec(self):
        self.start_pod("host", "sleep", "1000")
        self.assertEqual(self.kubectl("exec", "host", "--", "hostname").strip(), "host")

    def test_image_is_built_from_a_dockerfile(self):
        """With the machine's network, which the cluster itself has not."""
        context = self.cluster.path("context")
        os.makedirs(context)
        with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as f:
            f.write(f"FROM {cluster_test.IMAGE}\nRUN apt-get update && apt-get install -y hello\n"
                    "ENV LC_ALL=C\nENTRYPOINT [\"hello\"]\n")
        name = "localhost/hello:1"
        archive = image.build(self.cluster.folder, name, context, bases=[cluster_test.ARCHIVE])
        self.cluster.image_import(archive)
        pod = self.pod("greeter", container={"image": name})
        del pod["spec"]["containers"][0]["command"]
        self.create(pod)
        self.assertEqual(self.end_of("greeter")["exitCode"], 0)
        self.assertEqual(self.kubectl("logs", "greeter"), "Hello, world!\n")

    def test_job_completes(self):
        spec = self.pod("unused", "true")["spec"]
        self.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"},
                     "spec": {"completions": 3, "parallelism": 2, "template": {"spec": spec}}})
        job = self.wait_get(lambda j: j["status"].get("succeeded") == 3, "the job succeeds",
                            "job", "work")
        self.assertEqual(job["status"]["conditions"][0]["type"], "Complete")

    def test_pods_reach_each_other(self):
        server = self.start_pod("server", "perl", "-MIO::Socket::INET", "-e",
                                "$s = IO::Socket::INET->new(Listen => 1, LocalPort => 9000);"
                                "$c = $s->accept; print $c 'hello'; close $c; sleep 1000")
        address = server["status"]["podIP"]
        self.create(self.pod("client", "perl", "-MIO::Socket::INET", "-e",
                             f"for (1..50) {{ $s = IO::Socket::INET->new('{address}:9000');"
                             "last if $s; select undef, undef, undef, 0.1 } print <$s>"))
        self.end_of("client")
        self.assertEqual(self.kubectl("logs", "client"), "hello")

    def test_api_from_inside_a_pod(self):
        """By the service's address, with the account's own token, as far as its role goes."""
        self.kubectl("create", "rolebinding", "reader", "--clusterrole=view",
                     f"--serviceaccount={self.namespace}:default")
        self.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"},
                     "data": {"word": "found"}})
        self.create(self.pod("reader", "sh", "-c", "kubectl get configmap note -o json; "
                                                   "kubectl delete configmap note"))
        end = self.end_of("reader")
        said = self.kubectl("logs", "reader")
        self.assertEqual(end["exitCode"], 1, said)
        self.assertIn('"word": "found"', said)
        self.assertIn("Forbidden", said)
        token = self.get("pod", "reader")["spec"]["volumes"][0]
        self.assertIn("projected", token, "tokens are bound ones, as newer servers give them")

    def test_deletion_leaves_nothing(self):
        pod = self.start_pod("gone", "sleep", "1000")
        uid = pod["metadata"]["uid"]
        node = self.cluster.node()
        self.assertTrue([at for at in cgroups.folders(node.cgroup) if uid in at])
        self.remove_namespace(wait=True)

        def left():
            folders = [at for at in cgroups.folders(node.cgroup) if uid in at]
            containers = [line for line in node.ctr("containers", "list").stdout.splitlines()
                          if uid in line]
            return folders + containers

        wait_for(lambda: not left(), lambda: f"nothing left of the pod: {left()}", 30)
        self.assertIsNone(self.api.get("namespace", self.namespace))


class RealNodes(NodeTest):
    """Nodes that come, go and come back."""

    def test_node_is_lost_and_comes_back(self):
        node = self.cluster.node_add()
        try:
            self.start_pod("away", "sleep", "1000", node=node.name)
            first = self.pids("away")
            self.cluster.node_lose(node.name)
            wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in first),
                     "what has ended there is collected", 10)
            self.cluster.wait_node(node.name, "Unknown")
            self.assertEqual(self.cluster.node_state("node1"), "True")
            node.start()
            self.cluster.wait_node(node.name, "True")
        finally:
            self.cluster.node_remove(node.name)

    def test_node_is_cut_off_and_joins_again(self):
        node = self.cluster.node_add()
        try:
            self.start_pod("cut", "sleep", "1000", node=node.name)
            node.cut()
            self.cluster.wait_node(node.name, "Unknown")
            self.assertTrue(self.pids("cut"))
            node.join()
            self.cluster.wait_node(node.name, "True")
        finally:
            self.cluster.node_remove(node.name)


if __name__ == "__main__":
    unittest.main()
