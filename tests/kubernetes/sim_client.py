"""What tests in Python use of the simulated API server: start it, talk to it, steer it.

    with sim_client.Simulation("--all", "--nodes", "2") as sim:
        sim.create("pods", {...})
        sim.control("fault", verb="list", action="status", code=429, retry_after=1)

Nothing is left when it ends: the server dies with its standard input.
"""
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.realpath(__file__))
SERVER = os.path.join(HERE, "sim_server.py")
GROUPS = {"jobs": "batch/v1", "leases": "coordination.k8s.io/v1", "mpijobs": "kubeflow.org/v2beta1",
          "roles": "rbac.authorization.k8s.io/v1", "rolebindings": "rbac.authorization.k8s.io/v1",
          "clusterroles": "rbac.authorization.k8s.io/v1",
          "clusterrolebindings": "rbac.authorization.k8s.io/v1",
          "customresourcedefinitions": "apiextensions.k8s.io/v1",
          "poddisruptionbudgets": "policy/v1"}
CLUSTER_WIDE = {"nodes", "namespaces", "customresourcedefinitions", "clusterroles",
                "clusterrolebindings", "persistentvolumes"}
PATCHES = {"merge": "application/merge-patch+json", "json": "application/json-patch+json",
           "strategic": "application/strategic-merge-patch+json",
           "apply": "application/apply-patch+yaml"}


class Refused(Exception):
    """An answer of 400 and above: its code, its Status (or text) and its headers."""

    def __init__(self, code, status, headers):
        message = status.get("message") if isinstance(status, dict) else status
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = status if isinstance(status, dict) else {}
        self.headers = headers

    @property
    def reason(self):
        """The Status' reason."""
        return self.status.get("reason")


def path_of(resource, namespace="default", name="", subresource="", group=None):
    """The path of a resource: "pods", or "jobs" with the group that it is known by."""
    group = group or GROUPS.get(resource, "v1")
    parts = ["apis" if "/" in group else "api", group]
    if resource not in CLUSTER_WIDE and namespace:
        parts += ["namespaces", namespace]
    parts += [part for part in (resource, name, subresource) if part]
    return "/" + "/".join(parts)


class Simulation:
    """A running simulated server; `arguments` are those of sim_server.py."""

    def __init__(self, *arguments, token=None, context=None, environment=None):
        self.token = token
        self.context = context
        self.process = subprocess.Popen(
            [sys.executable, SERVER, *map(str, arguments)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the simulated server ended with {self.process.wait()}")
        self.ready = json.loads(line)
        self.url = self.ready["url"]
        self.connections = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self):
        """Ends the server."""
        for connection in self.connections.values():
            connection.close()
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def connection(self, url, fresh=False, timeout=30):
        """A connection to one of the ports, kept for the next request."""
        if fresh or url not in self.connections:
            parts = urllib.parse.urlsplit(url)
            if parts.scheme == "https":
                made = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout,
                                                   context=self.context)
            else:
                made = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
            if fresh:
                return made
            self.connections[url] = made
        return self.connections[url]

    def send(self, method, path, body=None, kind="application/json", token=None, headers=None,
             fresh=False, timeout=30):
        """(code, headers, bytes) of a request to the API server."""
        sent = {"Content-Type": kind, "User-Agent": "sim-test/1", **(headers or {})}
        token = token or self.token
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        connection = self.connection(self.url, fresh, timeout)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (http.client.HTTPException, OSError):
            connection.close()
            raise
        finally:
            if fresh:
                connection.close()

    def ask(self, method, path, body=None, **more):
        """The object that a request is answered with; raises Refused."""
        code, headers, data = self.send(method, path, body, **more)
        try:
            value = json.loads(data) if data else {}
        except ValueError:
            value = data.decode(errors="replace")
        if code >= 400:
            raise Refused(code, value, headers)
        return value

    def get(self, resource, name, namespace="default", **query):
        """One object."""
        return self.ask("GET", with_query(path_of(resource, namespace, name), query))

    def list(self, resource, namespace="default", **query):
        """A list."""
        return self.ask("GET", with_query(path_of(resource, namespace), query))

    def create(self, resource, body, namespace="default", **query):
        """A new object."""
        return self.ask("POST", with_query(path_of(resource, namespace), query), body)

    def update(self, resource, body, subresource="", **query):
        """PUT of an object under its own name and namespace."""
        metadata = body["metadata"]
        path = path_of(resource, metadata.get("namespace", ""), metadata["name"], subresource)
        return self.ask("PUT", with_query(path, query), body)

    def patch(self, resource, name, body, kind="merge", namespace="default", subresource="",
              **query):
        """PATCH of one of the kinds of PATCHES."""
        path = with_query(path_of(resource, namespace, name, subresource), query)
        return self.ask("PATCH", path, body, kind=PATCHES[kind])

    def delete(self, resource, name, namespace="default", **options):
        """DELETE with DeleteOptions."""
        return self.ask("DELETE", path_of(resource, namespace, name), options or None)

    def watch(self, resource, namespace="default", timeout=10, **query):
        """A Watch that is open already."""
        path = with_query(path_of(resource, namespace), {"watch": "1", **query})
        return Watch(self, path, timeout)

    def control(self, call, /, **given):
        """A call of the control port."""
        connection = self.connection(self.ready["control"])
        connection.request("POST", "/" + call, json.dumps(given))
        answer = connection.getresponse()
        value = json.loads(answer.read())
        if answer.status != 200:
            raise Refused(answer.status, value, answer.headers)
        return value

    def requests(self, **wanted):
        """The journal's entries whose fields are as wanted."""
        return self.control("requests", **wanted)["requests"]

    def kubeconfig(self, path, token=None, authority=None, certificate=None, key=None,
                   namespace="default"):
        """Writes a kubeconfig for this server."""
        token = token or self.token
        lines = ["apiVersion: v1", "kind: Config", "clusters:", "- name: sim", "  cluster:",
                 f"    server: {self.url}"]
        if authority:
            lines.append(f"    certificate-authority: {authority}")
        lines += ["users:", "- name: user"]
        user = {"token": token, "client-certificate": certificate, "client-key": key}
        given = [f"    {name}: {value}" for name, value in user.items() if value]
        lines += ["  user:", *given] if given else ["  user: {}"]
        lines += ["contexts:", "- name: sim", "  context:", "    cluster: sim", "    user: user",
                  f"    namespace: {namespace}", "current-context: sim", ""]
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines))
        return path


class Watch:
    """An open watch: its events one after the other."""

    def __init__(self, sim, path, timeout):
        self.connection = sim.connection(sim.url, True, timeout)
        headers = {"Authorization": f"Bearer {sim.token}"} if sim.token else {}
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        if self.answer.status != 200:
            body = self.answer.read()
            self.connection.close()
            raise Refused(self.answer.status, json.loads(body), self.answer.headers)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def next(self):
        """The next event, or None at the stream's end."""
        line = self.answer.readline()
        return json.loads(line) if line.strip() else None

    def until(self, test):
        """The first event that a test accepts; raises at the stream's end."""
        while True:
            event = self.next()
            if event is None:
                raise AssertionError("the watch ended")
            if test(event):
                return event

    def rest(self):
        """All events to the stream's end."""
        found = []
        while True:
            event = self.next()
            if event is None:
                return found
            found.append(event)

    def close(self):
        """Hangs up."""
        self.answer.close()
        self.connection.close()


def with_query(path, query):
    """A path with a query; `continue_` and the like lose their mark."""
    if not query:
        return path
    return path + "?" + urllib.parse.urlencode({k.rstrip("_"): v for k, v in query.items()})


def openssl(*arguments):
    """Runs openssl."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificates(folder):
    """Makes ca, server (for 127.0.0.1) and client (ann of system:masters), each .pem and .key.

    Returns the function from a file's name to its path.
    """
    def path(name):
        return os.path.join(folder, name)

    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *kind, "-keyout", path("ca.key"), "-out", path("ca.pem"), "-days", "2",
            "-subj", "/CN=ca")
    with open(path("extensions"), "w", encoding="utf-8") as f:
        f.write("subjectAltName=IP:127.0.0.1\n")
    for name, subject in (("server", "/CN=server"), ("client", "/O=system:masters/CN=ann")):
        openssl("req", *kind, "-keyout", path(name + ".key"), "-out", path("request"), "-subj",
                subject)
        openssl("x509", "-req", "-in", path("request"), "-CA", path("ca.pem"), "-CAkey",
                path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", path("extensions"),
                "-out", path(name + ".pem"))
    return path


def wait_for(condition, what, deadline=30.0):
    """The first true value of condition(); fails when there is none before the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s in vain: {what}")
        time.sleep(0.01)


def pod(name, **spec):
    """A small pod."""
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name},
            "spec": {"containers": [{"name": "main", "image": "image:1"}], **spec}}


def config_map(name, **data):
    """A ConfigMap."""
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}
