#!/usr/bin/env python3
"""The process kubelet: pods of the simulated API server as processes of this machine."""
import os
import ssl
import sys
import tempfile
import unittest

import sim_client
from sim import sandbox
from sim_case import Case
from sim_client import config_map, path_of, wait_for

# What a program in a pod does to reach the server.
ASK = """
import os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
server = "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format(**os.environ)
ask = urllib.request.Request(server + "/api/v1/namespaces/default/pods/p")
ask.add_header("Authorization", "Bearer " + open(folder + "token").read())
trust = ssl.create_default_context(cafile=folder + "ca.crt")
print(urllib.request.urlopen(ask, context=trust).status)
"""


def shell(name, script, spec=None, **container):
    """A pod that runs a shell script."""
    main = {"name": "main", "image": "image:1", "command": ["/bin/sh", "-c", script], **container}
    return {"metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "containers": [main], **(spec or {})}}


class Processes(Case):
    """Pods that really run."""

    ARGUMENTS = ("--all", "--kubelet", "process", "--nodes", 2, "--factor", 10)

    def run_pod(self, body):
        """(exit code, log) of a pod that ends on its own."""
        name = body["metadata"]["name"]
        self.create("pods", body)
        made = wait_for(lambda: next((p for p in self.list("pods")["items"]
                                      if p["metadata"]["name"] == name
                                      and p["status"]["phase"] in ("Succeeded", "Failed")), None),
                        f"{name} ends")
        ended = made["status"]["containerStatuses"][0]["state"]["terminated"]
        return ended, self.log(name)

    def log(self, name):
        path = path_of("pods", self.space, name, "log")
        return self.sim.send("GET", path)[2].decode()

    def running(self, name):
        return wait_for(lambda: next((p for p in self.list("pods")["items"]
                                      if p["metadata"]["name"] == name
                                      and p["status"]["phase"] == "Running"), None),
                        f"{name} runs")

    def processes(self, name):
        return self.sim.control("pod/processes", namespace=self.space, name=name)["main"]

    def test_what_a_container_sees(self):
        script = ("echo ip $IP of $(hostname) as $$$$; touch /etc/nobody-else-sees;"
                  "echo bye > /dev/termination-log; echo err >&2; exit 3")
        env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
        ended, log = self.run_pod(shell("p", script, env=env))
        address = self.get("pods", "p")["status"]["podIP"]
        self.assertEqual((3, "bye\n"), (ended["exitCode"], ended["message"]))
        self.assertEqual(f"ip {address} of p as 1\nerr\n", log)
        self.assertRegex(address, r"^127\.\d+\.\d+\.\d+$")
        self.assertFalse(os.path.exists("/etc/nobody-else-sees"))

    def test_volumes(self):
        self.create("configmaps", config_map("c", hostfile="a slots=1\n", other="x"))
        self.create("secrets", {"metadata": {"name": "s"}, "stringData": {"key": "k1\n"}})
        volumes = [{"name": "c", "configMap": {"name": "c", "items": [
                        {"key": "hostfile", "path": "hosts"}]}},
                   {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
                   {"name": "e", "emptyDir": {}},
                   {"name": "d", "downwardAPI": {"items": [
                       {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]
        mounts = [{"name": "c", "mountPath": "/etc/mpi"},
                  {"name": "s", "mountPath": "/reknit-secret", "readOnly": True},
                  {"name": "e", "mountPath": "/reknit"}, {"name": "d", "mountPath": "/pod"}]
        init = [{"name": "init", "image": "agent:1", "command": ["cp", "/image-file", "/reknit/x"],
                 "volumeMounts": mounts}]
        script = ("cat /etc/mpi/hosts /reknit-secret/key /reknit/x /pod/labels; ls /etc/mpi;"
                  "stat -L -c %a /reknit-secret/key; touch /reknit-secret/y || echo read-only")
        body = shell("p", script, {"volumes": volumes, "initContainers": init},
                     volumeMounts=mounts)
        body["metadata"]["labels"] = {"a": "b"}
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "image-file"), "w", encoding="utf-8") as f:
                f.write("of the image\n")
            self.sim.control("image", name="agent:1", folder=folder)
            log = self.run_pod(body)[1]
        self.assertEqual('a slots=1\nk1\nof the image\na="b"hosts\n400\n',
                         log.partition("touch:")[0])
        self.assertTrue(log.endswith("read-only\n"))

    def test_volumes_wait_and_follow(self):
        volumes = [{"name": "c", "configMap": {"name": "late"}}]
        script = "until grep -q 2 /c/k; do sleep 0.02; done; echo seen"
        body = shell("p", script, {"volumes": volumes},
                     volumeMounts=[{"name": "c", "mountPath": "/c"}])
        self.create("pods", body)
        wait_for(lambda: "FailedMount" in [e["reason"] for e in self.list("events")["items"]],
                 "the kubelet complains")
        self.create("configmaps", config_map("late", k="1"))
        self.running("p")
        self.patch("configmaps", "late", {"data": {"k": "2"}})
        self.patch("pods", "p", {"metadata": {"annotations": {"touch": "1"}}})
        wait_for(lambda: self.get("pods", "p")["status"]["phase"] == "Succeeded", "it is seen")

    def test_user_and_sealed_root(self):
        script = "id -u; id -g; grep NoNewPrivs /proc/self/status"
        security = {"runAsUser": 65532, "runAsGroup": 65532, "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]}}
        log = self.run_pod(shell("p", script, securityContext=security))[1]
        self.assertEqual(["65532", "65532", "NoNewPrivs:\t1"], log.splitlines())
        for sealed, word in ((True, "sealed"), (False, "open")):
            log = self.run_pod(shell(word, "touch /x 2>/dev/null && echo open || echo sealed",
                                     securityContext={"readOnlyRootFilesystem": sealed}))[1]
            self.assertEqual(word + "\n", log)

    def test_grace(self):
        wait = "echo set; while :; do sleep 0.02; done"
        self.create("pods", shell("polite", f"trap 'exit 5' TERM; {wait}"))
        self.create("pods", shell("deaf", f"trap '' TERM; {wait}",
                                  {"terminationGracePeriodSeconds": 5}))
        for name, code in (("polite", 5), ("deaf", 137)):
            self.running(name)
            wait_for(lambda n=name: self.log(n) == "set\n", "its trap is set")
            pids = self.processes(name)
            version = self.version("pods")
            with self.watch("pods", resourceVersion=version) as watch:
                self.delete("pods", name)
                last = watch.until(lambda e: e["type"] == "DELETED")["object"]
            ended = last["status"]["containerStatuses"][0]["state"]["terminated"]
            self.assertEqual(code, ended["exitCode"])
            self.assertFalse([p for p in pids if os.path.exists(f"/proc/{p}")])

    def test_forced_deletion_kills(self):
        self.create("pods", shell("p", "sleep 1000 & sleep 1000"))
        self.running("p")
        pids = wait_for(lambda: len(self.processes("p")) == 3 and self.processes("p"), "three")
        self.delete("pods", "p", gracePeriodSeconds=0)
        wait_for(lambda: not [p for p in pids if os.path.exists(f"/proc/{p}")], "all are gone")

    def test_out_of_memory_and_restart(self):
        script = "echo start; sleep 1000"
        self.create("pods", shell("p", script, {"restartPolicy": "OnFailure"}))
        self.running("p")
        wait_for(lambda: self.log("p") == "start\n", "its first line")
        self.sim.control("pod/exit", namespace=self.space, name="p", reason="OOMKilled")
        status = wait_for(lambda: next((s for s in self.get("pods", "p")["status"][
            "containerStatuses"] if s["restartCount"] == 1 and s["ready"]), None), "the restart")
        last = status["lastState"]["terminated"]
        self.assertEqual((137, "OOMKilled", 9), (last["exitCode"], last["reason"], last["signal"]))
        wait_for(lambda: self.log("p") == "start\nstart\n", "both logs")

    def test_a_lost_node(self):
        for how in ("kill", "leave"):
            name, node = f"p-{how}", f"{how}-{self.space}"
            self.sim.control("node/add", name=node, labels={"l": node})
            self.create("pods", shell(name, "sleep 1000", {"nodeSelector": {"l": node}}))
            self.running(name)
            pids = self.processes(name)
            self.sim.control("node/lost", name=node, processes=how)
            if how == "kill":
                wait_for(lambda: not [p for p in pids if os.path.exists(f"/proc/{p}")], "dead")
            self.assertEqual("Running", self.get("pods", name)["status"]["phase"])
            self.delete("pods", name, gracePeriodSeconds=0)
            self.sim.delete("nodes", node, "")

    def test_service_account(self):
        script = ("cd /var/run/secrets/kubernetes.io/serviceaccount; cat namespace; echo;"
                  "cat token; echo; echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT")
        space, token, address = self.run_pod(shell("p", script))[1].splitlines()
        self.assertEqual(self.space, space)
        self.assertEqual(f"127.0.0.1:{self.sim.ready['port']}", address)
        self.sim.ask("GET", path_of("pods", self.space), token=token)
        self.assertEqual(f"system:serviceaccount:{self.space}:default",
                         self.sim.requests(resource="pods", verb="list")[-1]["user"])

    def test_the_server_as_pods_see_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = sim_client.certificates(folder)
            with sim_client.Simulation(
                    "--all", "--kubelet", "process", "--nodes", 1, "--tls-cert",
                    path("server.pem"), "--tls-key", path("server.key"), "--cluster-ca",
                    path("ca.pem"), "--token", "boss", token="boss",
                    context=ssl.create_default_context(cafile=path("ca.pem"))) as sim:
                body = shell("p", "")
                body["spec"]["containers"][0]["command"] = [sys.executable, "-c", ASK]
                sim.create("pods", body)
                ends = ("Succeeded", "Failed")
                wait_for(lambda: sim.get("pods", "p")["status"]["phase"] in ends, "its end")
                log = sim.send("GET", path_of("pods", "default", "p", "log"))[2].decode()
        self.assertEqual("200\n", log)

    def test_nothing_is_left(self):
        with tempfile.TemporaryDirectory() as folder:
            with sim_client.Simulation("--all", "--kubelet", "process", "--nodes", 1,
                                       environment={"TMPDIR": folder}) as sim:
                sim.create("pods", shell("p", "sleep 1000"))
                wait_for(lambda: sim.get("pods", "p")["status"]["phase"] == "Running", "it runs")
                pids = sim.control("pod/processes", name="p")["main"]
                self.assertTrue(pids and os.listdir(folder))
            self.assertFalse([p for p in pids if os.path.exists(f"/proc/{p}")])
            self.assertEqual([], os.listdir(folder))

    def test_a_killed_server_takes_its_pods_along(self):
        with tempfile.TemporaryDirectory() as folder:
            sim = sim_client.Simulation("--all", "--kubelet", "process", "--nodes", 1,
                                        environment={"TMPDIR": folder})
            sim.create("pods", shell("p", "sleep 1000"))
            wait_for(lambda: sim.get("pods", "p")["status"]["phase"] == "Running", "it runs")
            pids = sim.control("pod/processes", name="p")["main"]
            sim.process.kill()
            sim.stop()
            wait_for(lambda: not [p for p in pids if os.path.exists(f"/proc/{p}")], "all end")


if __name__ == "__main__":
    if sandbox.possible():
        print(f"skipped: the process kubelet {sandbox.possible()}")
        sys.exit(77)
    unittest.main()
