#!/usr/bin/env python3
"""Who may do what on the simulated API server; the server as a process."""
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import unittest

import sim_client
from sim_case import Case
from sim_client import Refused, path_of, pod, wait_for


class Access(Case):
    """Tokens, rules, roles, certificates."""

    ARGUMENTS = ("--rbac", "--token", "boss")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim.token = "boss"

    def test_tokens(self):
        with self.refused(401, "Unauthorized"):
            self.sim.ask("GET", "/api/v1/pods", token="other")
        self.sim.control("token", token="second", old="boss")
        with self.refused(401):
            self.list("pods")
        self.sim.control("token", token="boss", old="second")
        self.list("pods")

    def test_rules_of_a_token(self):
        self.sim.control("token", token="t", user="jo", groups=[], rules=[
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}])
        self.sim.ask("GET", path_of("pods", self.space), token="t")
        with self.refused(403, "Forbidden", 'pods is forbidden: User "jo" cannot create resource'
                          f' "pods" in API group "" in the namespace "{self.space}"'):
            self.sim.ask("POST", path_of("pods", self.space), pod("a"), token="t")
        with self.refused(403, "Forbidden", 'pods "a" is forbidden: User "jo" cannot get resource'
                          ' "pods/status"'):
            self.sim.ask("GET", path_of("pods", self.space, "a", "status"), token="t")

    def test_a_rule_for_one_name(self):
        self.sim.control("token", token="n", user="jo", groups=[], rules=[
            {"verbs": ["get", "watch", "list"], "apiGroups": [""], "resources": ["configmaps"],
             "resourceNames": ["mine"]}])
        path = path_of("configmaps", self.space)
        self.sim.ask("GET", path + "?fieldSelector=metadata.name%3Dmine", token="n")
        for query in ("", "?fieldSelector=metadata.name%3Dother"):
            with self.refused(403, "Forbidden"):
                self.sim.ask("GET", path + query, token="n")

    def test_roles(self):
        user = f"system:serviceaccount:{self.space}:default"
        self.sim.control("token", token="sa", user=user)
        with self.refused(403, "Forbidden", 'cannot create resource "leases" in API group'
                          ' "coordination.k8s.io"'):
            self.sim.ask("POST", path_of("leases", self.space), {"metadata": {"name": "l"}},
                         token="sa")
        self.create("roles", {"metadata": {"name": "r"}, "rules": [
            {"verbs": ["create", "get"], "apiGroups": ["coordination.k8s.io"],
             "resources": ["leases"]}]})
        self.create("rolebindings", {
            "metadata": {"name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "default"}],
            "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}})
        self.sim.ask("POST", path_of("leases", self.space), {"metadata": {"name": "l"}},
                     token="sa")
        with self.refused(403, "Forbidden", "at the cluster scope"):
            self.sim.ask("GET", "/apis/coordination.k8s.io/v1/leases", token="sa")
        for verb, allowed in (("create", True), ("delete", False)):
            review = self.sim.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                  {"spec": {"resourceAttributes": {
                                      "namespace": self.space, "verb": verb, "resource": "leases",
                                      "group": "coordination.k8s.io"}}}, token="sa")
            self.assertEqual(allowed, review["status"]["allowed"])

    def test_token_requests(self):
        path = path_of("serviceaccounts", self.space, "default", "token")
        with self.refused(422, "Invalid", "10 minutes"):
            self.sim.ask("POST", path, {"spec": {"expirationSeconds": 60}})
        made = self.sim.ask("POST", path, {"spec": {"expirationSeconds": 600}})
        with self.refused(403, None, f"system:serviceaccount:{self.space}:default"):
            self.sim.ask("GET", path_of("pods", self.space), token=made["status"]["token"])


def ended(pid):
    """True when a process is gone, or dead and not yet waited for."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().split()[2] == "Z"
    except OSError:
        return True


class Process(unittest.TestCase):
    """The server as a process: TLS, discovery, its end."""

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            path = sim_client.certificates(folder)
            context = ssl.create_default_context(cafile=path("ca.pem"))
            with sim_client.Simulation("--tls-cert", path("server.pem"), "--tls-key",
                                       path("server.key"), "--client-ca", path("ca.pem"),
                                       "--token", "t", context=context) as sim:
                with self.assertRaises(Refused) as caught:
                    sim.list("pods")
                self.assertEqual(403, caught.exception.code)
                sim.token = "t"
                sim.list("pods")
                sim.token = None
                context.load_cert_chain(path("client.pem"), path("client.key"))
                sim.ask("GET", path_of("pods"), fresh=True)
                self.assertEqual("ann", sim.requests(resource="pods")[-1]["user"])

    def test_discovery(self):
        with sim_client.Simulation("--version", "1.20") as sim:
            self.assertEqual("20", sim.ask("GET", "/version")["minor"])
            self.assertEqual(["v1"], sim.ask("GET", "/api")["versions"])
            groups = {g["name"]: g["preferredVersion"]["version"]
                      for g in sim.ask("GET", "/apis")["groups"]}
            self.assertEqual("v2beta1", groups["kubeflow.org"])
            names = [r["name"] for r in sim.ask("GET", "/apis/kubeflow.org/v2beta1")["resources"]]
            self.assertEqual(["mpijobs", "mpijobs/status", "mpijobs/scale"], names)
            self.assertEqual(b"ok", sim.send("GET", "/healthz")[2])

    def test_it_ends_with_its_input(self):
        sim = sim_client.Simulation()
        sim.process.stdin.close()
        self.assertEqual(0, sim.process.wait(timeout=20))
        sim.process.stdout.close()

    def test_it_ends_with_its_parent(self):
        code = ("import subprocess, sys; p = subprocess.Popen([sys.executable, sys.argv[1]],"
                "stdin=subprocess.PIPE, stdout=subprocess.PIPE); print(p.pid, flush=True);"
                "p.stdout.readline(); print('up', flush=True); sys.stdin.read()")
        parent = subprocess.Popen([sys.executable, "-c", code, sim_client.SERVER],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pid = int(parent.stdout.readline())
        self.assertEqual("up", parent.stdout.readline().strip())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdin.close()
        parent.stdout.close()
        wait_for(lambda: ended(pid), "the server dies")

    def test_kubeconfig(self):
        with sim_client.Simulation() as sim, tempfile.TemporaryDirectory() as folder:
            path = sim.kubeconfig(os.path.join(folder, "config"), token="t", namespace="n")
            with open(path, encoding="utf-8") as f:
                text = f.read()
        self.assertIn(f"    server: {sim.url}\n", text)
        self.assertIn("    token: t\n", text)


if __name__ == "__main__":
    unittest.main()
