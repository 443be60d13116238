"""A real API server with its store, and the controllers where wanted; needs no root.

    with ApiServer(folder, binaries) as api:
        api.kubectl("get", "namespaces")

Everything it writes is under `folder`; everything it runs ends with it.
"""
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request

from pki import IDENTITIES, Pki
from process import Daemon, free_port, wait_for

LOOPBACK = "127.0.0.1"
SERVICES = "10.96.0.0/16"
SERVICE = "10.96.0.1"  # the service `kubernetes`: the first address of SERVICES
ISSUER = "https://kubernetes.default.svc"
BOUND = "--feature-gates=BoundServiceAccountTokenVolume=true"  # as every newer server does
KUBECONFIG = """apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: {server}
    certificate-authority: {authority}
users:
- name: {name}
  user:
    token: {token}
contexts:
- name: test
  context:
    cluster: test
    user: {name}
    namespace: default
current-context: test
"""


class Kubectl:
    """kubectl with a kubeconfig."""

    def __init__(self, program, kubeconfig):
        self.program = program
        self.kubeconfig = kubeconfig

    def kubectl(self, *arguments, given=None, check=True, kubeconfig=None, deadline=60):
        """Runs kubectl; `given` is its input, text or an object; returns the finished process."""
        if given is not None and not isinstance(given, str):
            given = json.dumps(given)
        feed = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
        line = [self.program, "--kubeconfig", kubeconfig or self.kubeconfig, *arguments]
        run = subprocess.run(line, text=True, check=False, timeout=deadline,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, **feed)
        if check and run.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {run.returncode}:\n"
                                 f"{run.stdout}{run.stderr}")
        return run

    def get(self, *arguments):
        """An object or a list as kubectl gets it, parsed; None when it is not there."""
        run = self.kubectl("get", "--ignore-not-found", "-o", "json", *arguments)
        return json.loads(run.stdout) if run.stdout.strip() else None

    def create(self, given, *arguments):
        """Creates objects; more than one as a list."""
        if isinstance(given, list):
            given = {"apiVersion": "v1", "kind": "List", "items": given}
        return self.kubectl("create", "-f", "-", *arguments, given=given)


class ApiServer(Kubectl):
    """etcd, kube-apiserver and, unless controllers is False, kube-controller-manager.

    address, port: where it listens; the loopback and a free port by default.  advertised: the
    address that pods find behind the service `kubernetes`; none by default.  nodes: names that may
    become nodes.  flags: {program: [more options]}."""

    def __init__(self, folder, binaries, controllers=True, address=LOOPBACK, port=None,
                 advertised=None, nodes=(), flags=None):
        self.folder = folder
        self.binaries = binaries
        self.controllers = controllers
        self.address = address
        self.port = port or free_port()
        self.advertised = advertised
        self.nodes = nodes
        self.flags = flags or {}
        self.logs = self.path("logs")
        super().__init__(os.path.join(binaries, "bin", "kubectl"), self.path("admin.kubeconfig"))
        self.pki = None
        self.store = None  # etcd's address
        self.daemons = {}

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def path(self, name):
        return os.path.join(self.folder, name)

    def binary(self, name):
        return os.path.join(self.binaries, "bin", name)

    @property
    def server(self):
        return f"https://{LOOPBACK}:{self.port}"

    def start(self):
        os.makedirs(self.logs, exist_ok=True)
        self.pki = Pki(self.path("pki"), [LOOPBACK, SERVICE, self.advertised or LOOPBACK])
        tokens = self.pki.write_tokens(self.nodes)
        for name in (*IDENTITIES, *self.nodes):
            self.write_kubeconfig(name, self.pki.tokens[name])
        self.store = f"http://{LOOPBACK}:{free_port()}"
        self.run("etcd", self.store_options(self.store))
        self.run("kube-apiserver", self.server_options(self.store, tokens))
        self.wait_ready()
        if self.controllers:
            self.run("kube-controller-manager", self.controller_options())
            self.wait_accounts()
        return self

    def run(self, name, options, within=()):
        """Starts a program of the cluster, or another one of the same name in its place."""
        line = [self.binary(name), *options, *self.flags.get(name, ())]
        self.daemons[name] = Daemon(name, line, self.logs, within).start()

    def stop(self):
        for name in reversed(list(self.daemons)):
            self.daemons.pop(name).stop(3)

    def store_options(self, address):
        peer = f"http://{LOOPBACK}:{free_port()}"
        return ["--name=store", f"--data-dir={self.path('etcd')}",
                f"--listen-client-urls={address}", f"--advertise-client-urls={address}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=store={peer}", "--unsafe-no-fsync"]

    def server_options(self, store, tokens):
        pki = self.pki
        options = [
            f"--etcd-servers={store}", f"--bind-address={self.address}",
            f"--secure-port={self.port}", "--insecure-port=0",
            f"--advertise-address={self.advertised or LOOPBACK}",
            f"--tls-cert-file={pki.path('server.crt')}",
            f"--tls-private-key-file={pki.path('server.key')}",
            f"--client-ca-file={pki.path('ca.crt')}", f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--service-account-key-file={pki.path('accounts.key')}",
            f"--service-account-signing-key-file={pki.path('accounts.key')}",
            f"--service-account-issuer={ISSUER}", f"--service-cluster-ip-range={SERVICES}",
            "--allow-privileged=true", "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={pki.path('client.crt')}",
            f"--kubelet-client-key={pki.path('client.key')}", BOUND]
        if not self.controllers:
            options.append("--disable-admission-plugins=ServiceAccount")  # nobody would make them
        if not self.advertised:
            options.append("--endpoint-reconciler-type=none")  # the loopback is no endpoint
        return options

    def controller_options(self):
        return [f"--kubeconfig={self.path('controllers.kubeconfig')}",
                f"--service-account-private-key-file={self.pki.path('accounts.key')}",
                f"--root-ca-file={self.pki.path('ca.crt')}", "--port=0", "--secure-port=0",
                "--leader-elect=false", "--controllers=*,-bootstrapsigner,-tokencleaner",
                "--node-monitor-period=2s", "--node-monitor-grace-period=16s", BOUND]

    def write_kubeconfig(self, name, token, server=None):
        """NAME.kubeconfig for a token; returns its path."""
        path = self.path(f"{name}.kubeconfig")
        with open(path, "w", encoding="utf-8") as f:
            os.fchmod(f.fileno(), 0o600)
            f.write(KUBECONFIG.format(server=server or self.server, name=name, token=token,
                                      authority=self.pki.path("ca.crt")))
        return path

    def is_ready(self):
        for daemon in self.daemons.values():
            daemon.check()
        context = ssl.create_default_context(cafile=self.pki.path("ca.crt"))
        request = urllib.request.Request(self.server + "/readyz")
        request.add_header("Authorization", f"Bearer {self.pki.tokens['admin']}")
        try:
            with urllib.request.urlopen(request, context=context, timeout=2) as answer:
                return answer.read() == b"ok"
        except (OSError, urllib.error.URLError):
            return False

    def wait_ready(self):
        wait_for(self.is_ready, "the API server is ready")

    def wait_accounts(self):
        """Until pods may be made: the controllers have given the namespace its account."""
        wait_for(lambda: self.get("serviceaccount", "default"), "the default service account")

    def restart(self):
        """The API server anew, after it was stopped or killed."""
        self.daemons["kube-apiserver"].start()
        self.wait_ready()

    def grant(self, identity, role, namespace):
        """Lets an identity of pki.IDENTITIES do what a cluster role allows, in one namespace."""
        user = IDENTITIES[identity][0]
        self.kubectl("create", "rolebinding", f"{identity}-{role}", f"--clusterrole={role}",
                     f"--user={user}", "-n", namespace)
        return self.path(f"{identity}.kubeconfig")
