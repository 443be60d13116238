#!/usr/bin/env python3
"""Who we are and whom we believe: tokens, certificates, plugins, proxies, and HTTP/2."""
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import unittest

import probe as harness
from probe import MAPS, config_map


class Tokens(harness.ClientTest):
    """A pod's token, which is renewed under its feet."""

    def pod(self, sim, token, url=None):
        """A probe as in a pod, whose folder is ours."""
        self.write("token", token)
        self.write("namespace", "default")
        host, port = (url or sim.url).split("//")[1].split(":")
        return {"host": host, "port": port, "folder": self.folder}

    def tls(self):
        """A server with TLS and a token, and a probe in a pod."""
        authority = harness.Authority(self.folder, "authority")
        cert, key = authority.make("server")
        context = harness.client_context(authority.cert)
        sim = self.simulation("--tls-cert", cert, "--tls-key", key, "--token", "one",
                              token="one", context=context)
        shutil.copy(authority.cert, self.path("ca.crt"))
        return sim, self.probe(pod=self.pod(sim, "one\n"))

    def test_pod_with_a_token_that_is_swapped(self):
        sim, client = self.tls()
        self.assertEqual(client.get(MAPS)["rc"], 0)
        self.write("token", "two\n")
        sim.control("token", token="two", old="one")
        sim.token = "two"
        self.assertEqual(client.get(MAPS)["rc"], 0)
        watch = client.watch(least_s=60, most_s=60)
        self.write("token", "three\n")
        sim.control("token", token="three", old="two")
        sim.token = "three"
        sim.control("cut", what="watches")
        sim.create("configmaps", config_map("c"))
        client.until(watch, "upsert", name="c")
        self.assertNotIn(401, [line["code"] for line in client.events(watch, "trouble")])

    def test_token_that_stays_wrong(self):
        sim, client = self.tls()
        sim.control("token", token="two", old="one")
        before = sim.control("state")["requests"]
        done = client.get(MAPS)
        self.assertEqual((done["code"], done["reason"]), (401, "Unauthorized"))
        self.assertEqual(sim.control("state")["requests"], before + 2)

    def test_authority_that_is_swapped(self):
        sim, client = self.tls()
        self.assertEqual(client.get(MAPS)["rc"], 0)
        other = harness.Authority(self.folder, "other")
        cert, key = other.make("server2")
        sim.control("certificate", cert=cert, key=key)
        sim.context = harness.client_context(other.cert)
        done = client.get(MAPS)  # the connection is there still
        self.assertEqual(done["rc"], 0, done)
        sim.control("cut", what="connections")
        number = client.start("request", verb="GET", path=MAPS)
        time.sleep(0.5)
        self.assertEqual(client.events(number, "done"), [])
        shutil.copy(other.cert, self.path("ca.new"))
        os.rename(self.path("ca.new"), self.path("ca.crt"))
        done = client.until(number, "done")
        self.assertEqual(done["rc"], 0, done)

    def test_stranger_is_not_believed(self):
        _, client = self.tls()
        stranger = harness.Authority(self.folder, "stranger")
        shutil.copy(stranger.cert, self.path("ca.crt"))
        done = client.get(MAPS, tries=2)
        self.assertEqual(done["code"], 0)
        self.assertIn("certificate", done["why"])


class Kubeconfigs(harness.ClientTest):
    """What a kubeconfig can say."""

    def setUp(self):
        super().setUp()
        self.authority = harness.Authority(self.folder, "authority")

    def server(self, *arguments, names="IP:127.0.0.1"):
        """A server with TLS that knows the token "one"."""
        cert, key = self.authority.make("server", names)
        return self.simulation("--tls-cert", cert, "--tls-key", key, "--token", "one", *arguments,
                               token="one", context=harness.client_context(None))

    def client(self, sim, user, **cluster):
        """A probe with a kubeconfig of this user and cluster."""
        path = self.path("config")
        harness.write_kubeconfig(path, sim.url, cluster, user)
        return self.probe(kubeconfig=path)

    def test_client_certificates(self):
        cert, key = self.authority.make("client", subject="/O=system:masters/CN=admin")
        sim = self.server("--client-ca", self.authority.cert)
        user = {"client-certificate": os.path.basename(cert), "client-key": key}
        client = self.client(sim, user, **{"certificate-authority": "authority.crt"})
        self.assertEqual(client.get(MAPS)["rc"], 0)
        nobody = self.client(sim, {}, **{"certificate-authority": "authority.crt"})
        self.assertIn(nobody.get(MAPS)["code"], (401, 403))

    def test_other_server_name(self):
        sim = self.server(names="DNS:kubernetes.example")
        user = {"token": "one"}
        trust = {"certificate-authority": self.authority.cert}
        self.assertIn("127.0.0.1", self.client(sim, user, **trust).get(MAPS, tries=1)["why"])
        named = self.client(sim, user, **trust, **{"tls-server-name": "kubernetes.example"})
        done = named.get(MAPS)
        self.assertEqual(done["rc"], 0, done)
        blind = self.client(sim, user, **{"insecure-skip-tls-verify": True})
        self.assertEqual(blind.get(MAPS)["rc"], 0)

    def test_proxy(self):
        sim = self.server()
        seen = []

        def serve(connection, request, number):
            del number
            host, port = request.split()[1].split(":")
            seen.append(request)
            with socket.create_connection((host, int(port))) as onward:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=harness.pump, args=(onward, connection), daemon=True)
                back.start()
                harness.pump(connection, onward)
                back.join()

        proxy = harness.RawServer(serve)
        self.addCleanup(proxy.stop)
        client = self.client(sim, {"token": "one"}, **{
            "certificate-authority": self.authority.cert, "proxy-url": proxy.url})
        self.assertEqual(client.get(MAPS)["rc"], 0)
        self.assertEqual(len(seen), 1)
        self.assertNotIn("Bearer", seen[0])

    def plugin(self, script, **more):
        """A user with an exec plugin."""
        self.write("plugin", "#!/bin/sh\necho run >> " + self.path("runs") + "\n" + script, 0o755)
        return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin",
                         "args": ["a b"], "env": [{"name": "WHO", "value": "one"}],
                         "interactiveMode": "Never", "provideClusterInfo": True, **more}}

    def credential(self, expires=None):
        """The script that prints the token $WHO."""
        status = {"token": "$WHO"}
        if expires:
            status["expirationTimestamp"] = expires
        text = json.dumps({"apiVersion": "client.authentication.k8s.io/v1",
                           "kind": "ExecCredential", "status": status})
        return f"cat <<END\n{text}\nEND\n"

    def runs(self):
        """How often the plugin ran."""
        return len(self.read("runs").split())

    def test_exec_plugin(self):
        sim = self.server()
        script = ('test "$1" = "a b" || exit 9\necho "$KUBERNETES_EXEC_INFO" > '
                  + self.path("info") + "\n" + self.credential())
        client = self.client(sim, self.plugin(script),
                             **{"certificate-authority": self.authority.cert})
        numbers = [client.start("request", verb="GET", path=MAPS) for _ in range(5)]
        for _ in numbers:
            self.assertEqual(client.next()["rc"], 0)
        self.assertEqual(self.runs(), 1)
        info = json.loads(self.read("info"))
        self.assertEqual(info["spec"]["interactive"], False)
        self.assertEqual(info["spec"]["cluster"]["server"], sim.url)
        sim.control("token", token="two", old="one")
        self.assertEqual(client.get(MAPS)["code"], 401)
        self.assertEqual(self.runs(), 2)

    def test_exec_plugin_expires(self):
        sim = self.server()
        for when, runs in (("2020-01-01T00:00:00Z", 3), ("2099-01-01T00:00:00Z", 1)):
            client = self.client(sim, self.plugin(self.credential(when)),
                                 **{"certificate-authority": self.authority.cert})
            if os.path.exists(self.path("runs")):
                os.remove(self.path("runs"))
            for _ in range(3):
                self.assertEqual(client.get(MAPS, deadline_ms=15000)["rc"], 0)
                time.sleep(1.1)  # one that is old already is used for a second
            self.assertEqual(self.runs(), runs)

    def test_exec_plugin_fails(self):
        sim = self.server()
        trust = {"certificate-authority": self.authority.cert}
        client = self.client(sim, self.plugin("echo no login >&2\nexit 3\n"), **trust)
        done = client.get(MAPS, tries=1)
        self.assertIn("'./plugin' gave no credentials: it ended with 3: no login", done["why"])
        client = self.client(sim, self.plugin("kill -9 $$\n"), **trust)
        self.assertIn("ended by signal 9", client.get(MAPS, tries=1)["why"])
        client = self.client(sim, self.plugin("echo '{}'\n"), **trust)
        self.assertIn("did not print an ExecCredential", client.get(MAPS, tries=1)["why"])
        client = self.client(sim, self.plugin("", command="no-such-plugin",
                                              installHint="Install it."), **trust)
        done = client.get(MAPS, tries=1)
        self.assertIn("cannot be started", done["why"])
        self.assertIn("Install it.", done["why"])
        slow = self.client(sim, self.plugin("sleep 600\n"), **trust)
        done = slow.get(MAPS, deadline_ms=500)
        self.assertIn("not done within 500 ms", done["why"])

    def test_kubeconfig_that_is_wrong(self):
        path = self.write("bad", "clusters: [\n")
        run = subprocess.run([harness.PROBE, json.dumps({"kubeconfig": path})], text=True,
                             capture_output=True, stdin=subprocess.DEVNULL)
        self.assertEqual(run.returncode, 65)
        self.assertIn(f"{path}:2:", run.stderr)


@unittest.skipUnless(shutil.which("nghttpx"), "nghttpx (package nghttp2-proxy) is not here")
class Http2(harness.ClientTest):
    """All requests on one connection, as with a real server: nghttpx before the simulated one."""

    def setUp(self):
        super().setUp()
        authority = harness.Authority(self.folder, "authority")
        cert, key = authority.make("server")
        self.sim = self.simulation()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        backend = self.sim.url.split("//")[1].replace(":", ",")
        self.proxy = subprocess.Popen(
            ["nghttpx", "--conf=/dev/null", f"--frontend=127.0.0.1,{self.port}",
             f"--backend={backend}", "--workers=1", "--backend-read-timeout=1h",
             "--frontend-http2-max-concurrent-streams=250", key, cert],
            stderr=subprocess.DEVNULL)
        self.addCleanup(self._end)
        self.in_time(self.listens, "nghttpx listens")
        self.relay = harness.Relay(self.port)
        self.addCleanup(self.relay.stop)
        path = self.path("config")
        port = self.relay.listener.getsockname()[1]
        harness.write_kubeconfig(path, f"https://127.0.0.1:{port}",
                                 {"certificate-authority": authority.cert}, {})
        self.client = self.probe(kubeconfig=path, rate=2000, burst=500)

    def _end(self):
        self.proxy.kill()
        self.proxy.wait()

    def listens(self):
        """Whether the proxy takes connections."""
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def connections(self):
        """How many sockets the probe has."""
        pid = self.client.process.pid
        return sum(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
                   for fd in os.listdir(f"/proc/{pid}/fd"))

    def test_one_connection(self):
        self.client.until(self.client.start("store", of=0), "store")
        own = self.connections()
        watch = self.client.watch(least_s=60, most_s=60)
        for i in range(200):
            self.client.start("create", version="v1", namespace="default", plural="configmaps",
                              object=config_map(f"m{i}", x="y" * 2000))
        self.in_time(lambda: self.client.next() and len(
            [line for line in self.client.seen if line["event"] == "done"]) == 200, "creates")
        self.assertTrue(all(line["rc"] == 0 for line in self.client.seen
                            if line["event"] == "done"))
        self.agree(self.client, watch, self.sim)
        self.assertEqual(self.connections() - own, 1)
        large = "x" * 900_000
        self.sim.create("configmaps", config_map("large", x=large))
        self.client.until(watch, "upsert", name="large")

    def test_429_in_small_letters(self):
        self.sim.control("fault", verb="get", action="status", code=429, retry_after=1)
        start = time.monotonic()
        self.assertEqual(self.client.get("/api/v1/namespaces/default")["rc"], 0)
        self.assertGreaterEqual(time.monotonic() - start, 1)

    def test_connection_that_nobody_answers(self):
        watch = self.client.watch(least_s=60, most_s=60)
        self.assertEqual(self.client.get("/version")["rc"], 0)
        self.relay.freeze()
        done = self.client.get("/version", silence_ms=500)
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(self.relay.number, 2)
        self.sim.create("configmaps", config_map("c"))
        self.client.until(watch, "upsert", name="c")
        self.agree(self.client, watch, self.sim)


if __name__ == "__main__":
    unittest.main(verbosity=2)
