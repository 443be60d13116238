"""What the tests of the client stand on: client_probe as a process, the simulated API server, an
authority that makes certificates, and servers of a few bytes for odd things on the wire.

REKNIT_BUILD names the build folder (default: build/release of this tree).
"""
import http.client
import json
import os
import queue
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "kubernetes"))
import sim_client  # noqa: E402, the folder must be known first

BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
PROBE = os.path.join(BUILD, "tests", "client_probe")
DEADLINE = 40
MAPS = "/api/v1/namespaces/default/configmaps"
FAST = {"least_s": 1, "most_s": 2, "slack_ms": 500}


class Probe:
    """A client_probe; its lines are read as they come."""

    def __init__(self, **options):
        self.number = 0
        self.lines = queue.Queue()
        self.seen = []
        self.process = subprocess.Popen([PROBE, json.dumps({"seed": 1, **options})], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def start(self, do, **command):
        """Gives a command; its id."""
        self.number += 1
        self.process.stdin.write(json.dumps({"id": self.number, "do": do, **command}) + "\n")
        self.process.stdin.flush()
        return self.number

    def next(self, deadline=DEADLINE):
        """The next line."""
        try:
            line = self.lines.get(timeout=deadline)
        except queue.Empty:
            raise AssertionError(f"waited {deadline} s in vain; last {self.seen[-3:]}") from None
        if line is None:
            raise AssertionError(f"the probe ended; last {self.seen[-3:]}")
        self.seen.append(line)
        return line

    def until(self, number, event, deadline=DEADLINE, **wanted):
        """The next line of a command with this event and these members."""
        end = time.monotonic() + deadline
        while True:
            line = self.next(max(0.1, end - time.monotonic()))
            if (line["id"] == number and line["event"] == event
                    and all(line.get(k) == v for k, v in wanted.items())):
                return line

    def ask(self, do, **command):
        """Gives a command and waits for its answer."""
        return self.until(self.start(do, **command), "done")

    def get(self, path, **more):
        """GET."""
        return self.ask("request", verb="GET", path=path, **more)

    def watch(self, path=MAPS, **more):
        """Starts a watch and waits for its first list."""
        number = self.start("watch", path=path, **{**FAST, **more})
        self.until(number, "end_relist")
        return number

    def store(self, watch):
        """{name: (uid, version)} of what a watch holds."""
        answer = self.until(self.start("store", of=watch), "store")
        return {i["namespace"] + "/" + i["name"]: (i["uid"], i["version"])
                for i in answer["items"]}

    def events(self, number, event):
        """What a command has said so far."""
        return [line for line in self.seen if line["id"] == number and line["event"] == event]

    def stop(self):
        """Ends it as at the end of its input; its exit code."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(timeout=DEADLINE)
        self.reader.join()
        self.process.stdout.close()
        return code


class Simulation(sim_client.Simulation):
    """The simulated server; requests of the test's own survive that connections are cut."""

    def send(self, *arguments, **more):
        for _ in range(50):
            try:
                return super().send(*arguments, **more)
            except TimeoutError:
                raise
            except (http.client.HTTPException, OSError):
                time.sleep(0.05)
        return super().send(*arguments, **more)


class ClientTest(unittest.TestCase):
    """A folder, probes and servers that all end with the test; each probe must end with 0."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="reknit-client-")
        self.addCleanup(shutil.rmtree, self.folder)

    def simulation(self, *arguments, **more):
        """A simulated API server."""
        sim = Simulation("--no-service-accounts", *arguments, **more)
        self.addCleanup(sim.stop)
        return sim

    def probe(self, sim=None, **options):
        """A probe that talks to `sim`, or as its options say."""
        if sim is not None and "kubeconfig" not in options:
            options["kubeconfig"] = sim.kubeconfig(self.path("kubeconfig"))
        probe = Probe(**options)
        self.addCleanup(self._stop, probe)
        return probe

    def _stop(self, probe):
        self.assertEqual(probe.stop(), 0)

    def path(self, name):
        """A path in the test's folder."""
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o644):
        """Writes a file in the place of another; its path."""
        path = self.path(name)
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)
        return path

    def read(self, name):
        """The text of a file in the test's folder."""
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def in_time(self, condition, what, deadline=DEADLINE):
        """The first true value of condition()."""
        return sim_client.wait_for(condition, what, deadline)

    def agree(self, probe, watch, sim, resource="configmaps", namespace="default"):
        """The store of a watch becomes what the server lists."""

        def equal():
            listed = {i["metadata"]["namespace"] + "/" + i["metadata"]["name"]:
                      (i["metadata"]["uid"], i["metadata"]["resourceVersion"])
                      for i in sim.list(resource, namespace)["items"]}
            return listed == probe.store(watch)

        self.in_time(equal, "the store equals the list")


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.cert = self._path(name, "crt")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                      f"/CN={name}", "-keyout", self._path(name, "key"), "-out", self.cert)

    def _path(self, name, kind):
        return os.path.join(self.folder, f"{name}.{kind}")

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def make(self, name, names="IP:127.0.0.1", subject=None):
        """A certificate and its key, as paths."""
        cert, key = self._path(name, "crt"), self._path(name, "key")
        request, extra = self._path(name, "csr"), self._path(name, "ext")
        with open(extra, "w", encoding="utf-8") as f:
            f.write(f"subjectAltName={names}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-subj", subject or f"/CN={name}", "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey",
                      self._path(self.name, "key"), "-CAcreateserial", "-days", "2", "-extfile",
                      extra, "-out", cert)
        return cert, key


class RawServer:
    """Answers each connection by a function of its own: `serve(connection, request, number)`."""

    def __init__(self, serve):
        self.serve = serve
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            self.requests.append((time.monotonic(), data.decode().split("\r\n")[0]))
            try:
                self.serve(connection, data.decode(), len(self.requests))
            except OSError:
                return

    def stop(self):
        """Listens no more."""
        self.listener.close()

    def kubeconfig(self, path, **cluster):
        """A kubeconfig for this server."""
        return write_kubeconfig(path, self.url, cluster, {})


def pump(source, sink):
    """Copies from one socket to another until either ends."""
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()


def client_context(authority):
    """A TLS context that believes one authority; without one, anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(authority)
    return context


def write_kubeconfig(path, server, cluster, user):
    """A kubeconfig with these members of cluster and user."""
    value = {"apiVersion": "v1", "kind": "Config", "current-context": "c",
             "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
             "users": [{"name": "u", "user": user}],
             "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f)
    return path


class Relay:
    """Passes connections on to a port.  Those that are there when it freezes hear nothing more."""

    def __init__(self, port):
        self.port = port
        self.number = 0
        self.frozen = 0  # connections with a lower number pass nothing on
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._run, args=(self.number, *pair), daemon=True).start()
            self.number += 1

    def _run(self, number, source, sink):
        with source, sink:
            while True:
                try:
                    data = source.recv(65536)
                    if not data:
                        return
                    if number >= self.frozen:
                        sink.sendall(data)
                except OSError:
                    return

    def freeze(self):
        """All connections that are open are half-open from now on."""
        self.frozen = self.number

    def stop(self):
        """Listens no more."""
        self.listener.close()


def chunked(*pieces):
    """A whole chunked answer of these pieces."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces)
    return (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n" + body + b"0\r\n\r\n")


def answer(value, code="200 OK", headers=""):
    """A whole answer with a JSON body."""
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {code}\r\nContent-Type: application/json\r\n{headers}"
    return (head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def empty_list(version="5"):
    """A ConfigMapList without items."""
    return {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": version},
            "items": []}


config_map = sim_client.config_map
Refused = sim_client.Refused
