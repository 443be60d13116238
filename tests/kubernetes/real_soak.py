"""The client's soak on a real API server and etcd of its own: nothing is lost or done twice, and
what a watch holds is what the server has, however the two are treated.

    tests/kubernetes/run --api -k soak
    REKNIT_SOAK_SECONDS=3600 REKNIT_SOAK_SEED=7 tests/kubernetes/run --api -k soak

Two clients work on the same objects: one speaks HTTP/2 with the server, one HTTP/1.1 through a
proxy that refuses, loses and cuts.  The store is compacted every few seconds, the server killed and
stopped, the token swapped.  etcd's own account of all changes is the witness.  The seed repeats the
choices, not the timing.  REKNIT_BUILD names the build folder; by default build/asan of this tree,
or build/release.
"""
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import ssl
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import cluster_test
from api import ApiServer
from fault_proxy import FaultProxy
from journal import Journal
from process import resident, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "client"))
import probe as harness  # noqa: E402, the folder must be known first
from soak_work import Work  # noqa: E402

SECONDS = float(os.environ.get("REKNIT_SOAK_SECONDS", 75))
NAMESPACE = "soak"
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
ACCOUNT = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/soak"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
RULES = [{"apiGroups": [""], "resources": ["configmaps"],
          "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"]}]
READY = 240       # seconds in which a server has started, on however busy a machine
LAP = 4           # seconds of trouble, if what goes wrong does not last longer
COMPACTION = 2.0  # seconds between two
GLANCE = 0.7      # seconds between two looks at what a watch holds in the midst of it
SHARE = 0.12      # of the requests through the proxy go wrong
REMEMBERED = 15   # seconds that a server believes a token which is not valid any more
CATCH_UP = 40     # seconds in which a watch has heard of all, its longest wait of 30 s included
REPORT = 60       # seconds between two lines about how it goes
# RK_ETIMEDOUT, RK_EUNAVAILABLE: the client gave up, and the reconciler would ask again.
AGAIN = (-10, -14)
# RK_EACCES as well: until it knows its accounts, a server that starts refuses valid tokens.
AGAIN_AT_START = (*AGAIN, -9)
# How the server is started again: watches from its memory or from etcd, few requests at a time.
FEW = ["--enable-priority-and-fairness=false", "--max-requests-inflight=3",
       "--max-mutating-requests-inflight=2"]
STARTS = ([], ["--watch-cache=false"], FEW, [*FEW, "--watch-cache=false"])


def build_folder():
    """The build whose client is tested."""
    named = os.environ.get("REKNIT_BUILD")
    folders = [named] if named else [os.path.join(ROOT, "build", name)
                                     for name in ("asan", "release")]
    return next((f for f in folders if os.access(os.path.join(f, "tests", "client_probe"),
                                                 os.X_OK)), None)


class Follower:
    """A client with a watch, and what was heard of it."""

    def __init__(self, name, config, seed):
        self.name = name
        self.probe = harness.Probe(kubeconfig=config, seed=seed, rate=200, burst=200)
        self.watch = self.probe.watch(MAPS, page=7, least_s=1, most_s=4)
        self.relisting = False
        self.troubles = collections.deque(maxlen=8)  # what the watch said last of its own
        self.heard = collections.defaultdict(list)   # of an object: (time, what, version)
        self.asked = None     # the id of a question for what it holds
        self.answer = None

    def see(self, line):
        """Takes a line that is not the end of an action."""
        if line["id"] == self.watch and line["event"] in ("begin_relist", "end_relist"):
            self.relisting = line["event"] == "begin_relist"
            self.troubles.append((round(time.monotonic(), 1), line["event"]))
        elif line["id"] == self.watch and line["event"] == "trouble":
            self.troubles.append((round(time.monotonic(), 1), line["why"]))
        elif line["id"] == self.watch and line["event"] in ("upsert", "delete"):
            self.heard[line["name"]].append((round(time.monotonic(), 2), line["event"],
                                             line["version"]))
        elif line["event"] == "store" and line["id"] == self.asked:
            self.asked = None
            self.answer = {**line, "relisting": self.relisting}

    def ask(self, **more):
        """Asks what it holds, unless that is asked already."""
        if self.asked is None:
            self.asked = self.probe.start("store", of=self.watch, **more)


class Server(ApiServer):
    """An API server and its store, with what can be done to them."""

    def __init__(self, folder, binaries):
        super().__init__(folder, binaries, controllers=False)
        self.context = None
        self.up = True       # it answers, as far as we know
        self.plain = None    # its options as it was started first
        self.number = 0      # of the token that is valid

    def start(self):
        super().start()
        self.context = ssl.create_default_context(cafile=self.pki.path("ca.crt"))
        self.plain = self.daemons["kube-apiserver"].line
        self.create([
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "ServiceAccount",
             "metadata": {"name": "soak", "namespace": NAMESPACE}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": RULES,
             "metadata": {"name": "soak", "namespace": NAMESPACE}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
             "metadata": {"name": "soak", "namespace": NAMESPACE},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "soak"},
             "subjects": [{"kind": "ServiceAccount", "name": "soak", "namespace": NAMESPACE}]}])
        return self

    def wait_ready(self, meanwhile=lambda: None):
        """Until it answers; this is done meanwhile."""
        def ready():
            meanwhile()
            return self.is_ready()

        wait_for(ready, lambda: f"the API server is ready\n{self.daemons['kube-apiserver'].tail()}",
                 READY)

    def call(self, method, path, body=None, token=None):
        """One request of the test's own; (code, answer)."""
        request = urllib.request.Request(self.server + path, method=method,
                                         data=json.dumps(body).encode() if body else None)
        request.add_header("Authorization", f"Bearer {token or self.pki.tokens['admin']}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    def must(self, *arguments, **more):
        """The same where it must succeed."""
        code, answer = self.call(*arguments, **more)
        if code >= 300:
            raise AssertionError(f"{arguments[:2]}: {code} {answer}")
        return answer

    def listed(self, version=None):
        """The objects, now or at a version; None: that is forgotten."""
        exact = f"?resourceVersion={version}&resourceVersionMatch=Exact" if version else ""
        code, answer = self.call("GET", MAPS + exact)
        if code == 410 and version:
            return None
        if code != 200:
            raise AssertionError(f"the list at {version}: {code} {answer}")
        return answer["items"]

    def new_token(self):
        """A token that is valid until drop_token(its number); (number, token)."""
        self.number += 1
        name = f"hold-{self.number}"
        held = self.must("POST", SECRETS, {"apiVersion": "v1", "kind": "Secret",
                                           "metadata": {"name": name}})
        bound = {"apiVersion": "v1", "kind": "Secret", "name": name,
                 "uid": held["metadata"]["uid"]}
        made = self.must("POST", ACCOUNT + "/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": 7200, "boundObjectRef": bound}})
        return self.number, made["status"]["token"]

    def drop_token(self, number):
        self.must("DELETE", f"{SECRETS}/hold-{number}")

    def kill(self):
        self.up = False
        self.daemons["kube-apiserver"].kill()

    def begin(self, options):
        """The program anew; it is not ready yet."""
        daemon = self.daemons["kube-apiserver"]
        daemon.line = [*self.plain, *options]
        daemon.start()

    def freeze(self):
        self.up = False
        self.daemons["kube-apiserver"].signal(signal.SIGSTOP)

    def thaw(self):
        self.daemons["kube-apiserver"].signal(signal.SIGCONT)


def brief(item):
    """An object as a watch says it holds it."""
    metadata = item["metadata"]
    return {"kind": "ConfigMap", "namespace": metadata["namespace"], "name": metadata["name"],
            "uid": metadata["uid"], "version": metadata["resourceVersion"]}


def full(item):
    """An object of a list as it would stand alone."""
    return {"kind": "ConfigMap", "apiVersion": "v1", **item}


class Soak:
    """Laps of trouble, each followed by a check."""

    def __init__(self, folder, server, journal, proxy, seed):
        self.folder = folder
        self.server = server
        self.journal = journal
        self.proxy = proxy
        self.random = random.Random(seed)
        self.later = []    # [(time, function)]: what ends by itself
        self.token = (0, None)
        self.old = []      # [(time, token)]: no longer valid
        self.put_token()
        self.followers = [Follower("direct", self.config("direct", server.port), seed),
                          Follower("proxied", self.config("proxied", proxy.server_port), seed + 1)]
        account = server.must("GET", ACCOUNT)["metadata"]
        owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "soak",
                 "uid": account["uid"]}
        self.by_probe = {follower.probe: follower for follower in self.followers}
        self.work = Work(self.random, list(self.by_probe), NAMESPACE, owner, AGAIN,
                         lambda probe, line: self.by_probe[probe].see(line))
        self.counts = self.work.counts
        self.glanced_at = self.reported_at = self.began_at = time.monotonic()

    def config(self, name, port):
        return harness.write_kubeconfig(
            os.path.join(self.folder, name), f"https://127.0.0.1:{port}",
            {"certificate-authority": self.server.pki.path("ca.crt")}, {"tokenFile": "token"})

    # what goes wrong

    def put_token(self):
        """A new token on the disk, as a kubelet puts it there, and the old one is not valid."""
        old = self.token
        self.token = self.server.new_token()
        path = os.path.join(self.folder, "token")
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(self.token[1])
        os.rename(path + ".new", path)
        if old[0]:
            self.server.drop_token(old[0])
            self.old.append((time.monotonic(), old[1]))

    def after(self, seconds, function):
        self.later.append((time.monotonic() + seconds, function))

    def kill(self):
        """Killed, and started again in one of several ways."""
        self.server.kill()
        options = self.random.choice(STARTS)
        self.after(self.random.uniform(0, 2), lambda: self.server.begin(options))

    def kill_and_swap(self):
        """Killed just when the token has been swapped, so that it has forgotten the old one."""
        self.put_token()
        self.kill()

    def stop(self, least, most):
        """Stopped: its connections are half-open until it goes on."""
        self.server.freeze()
        self.after(self.random.uniform(least, most), self.server.thaw)

    HARMS = {"kill": (kill, 3), "kill and swap": (kill_and_swap, 2), "swap": (put_token, 3),
             "stop": (lambda self: self.stop(0.5, 4), 3),
             "long stop": (lambda self: self.stop(22, 25), 1),
             "freeze": (lambda self: self.proxy.freeze(), 3),
             "cut": (lambda self: self.proxy.cut(), 3)}

    # looking

    def glance(self):
        """In the midst of it: a watch that is not listing holds what there was at its version."""
        for follower in self.followers:
            answer, follower.answer = follower.answer, None
            if answer is None or answer["relisting"]:
                continue
            items = self.server.listed(answer["version"])
            if items is None:
                self.counts["glances too late"] += 1
                continue
            self.compare(follower, answer, items, brief)
            self.counts["glances"] += 1
        if time.monotonic() >= self.glanced_at + GLANCE:
            self.glanced_at = time.monotonic()
            for follower in self.followers:
                follower.ask()

    def compare(self, follower, answer, items, form):
        there = {item["metadata"]["name"]: form(item) for item in items}
        held = {(item.get("name") or item["metadata"]["name"]): item for item in answer["items"]}
        wrong = {name: (held.get(name), there.get(name)) for name in {*held, *there}
                 if held.get(name) != there.get(name)}
        if wrong:
            known = {name: (follower.heard[name], self.journal.history[name]) for name in wrong}
            raise AssertionError(f"the {follower.name} watch differs at {answer['version']}; at "
                                 f"{time.monotonic():.1f} it had said {list(follower.troubles)}; "
                                 f"(held, listed): {str(wrong)[:4000]}; (heard, done by etcd): "
                                 f"{str(known)[:4000]}")

    def catch_up(self, follower, items):
        """Until a watch has heard of everything, or it never does."""
        end = time.monotonic() + CATCH_UP
        while True:
            follower.ask(whole=True)

            def answered():
                self.work.take_lines(0.01)
                return follower.answer

            wait_for(answered, f"the {follower.name} probe answers")
            answer, follower.answer = follower.answer, None
            try:
                return self.compare(follower, answer, items, full)
            except AssertionError:
                if time.monotonic() > end:
                    raise
                self.work.take_lines(0.2)

    def check(self):
        """All that was asked for is done, once, and both watches know it."""
        self.work.finish()
        items = self.server.listed()
        self.work.check(items)
        wait_for(lambda: self.journal.agrees(self.work.history), self.difference, 20)
        for follower in self.followers:
            follower.answer = None
            self.catch_up(follower, items)
        self.counts["checks"] += 1

    def difference(self):
        done, asked = self.journal.tallies, self.work.history
        wrong = {name: (done.get(name), asked.get(name)) for name in {*done, *asked}
                 if done.get(name) != asked.get(name)}
        return f"etcd has done (done, asked for; its account: {self.journal.end}): {wrong}"

    def check_tokens(self):
        """Tokens that were swapped are refused: that trouble was real."""
        now = time.monotonic()
        for since, token in [old for old in self.old if now - old[0] > REMEMBERED]:
            code, answer = self.server.call("GET", MAPS + "?limit=1", token=token)
            if code != 401:
                raise AssertionError(f"a swapped token is still valid: {code} {answer}")
            self.old.remove((since, token))
            self.counts["tokens refused"] += 1

    # the test

    def end_what_is_due(self):
        now = time.monotonic()
        for due in [entry for entry in self.later if entry[0] <= now]:
            self.later.remove(due)
            due[1]()

    def lap(self, name):
        """Trouble for a while, then quiet and two checks."""
        self.counts[name] += 1
        self.work.again = AGAIN_AT_START if "kill" in name else AGAIN
        self.proxy.share = SHARE
        self.HARMS[name][0](self)
        end = time.monotonic() + LAP
        while time.monotonic() < end or self.later:
            self.end_what_is_due()
            if self.work.idle():
                self.work.write_something()
            self.work.take_lines(self.random.uniform(0, 0.03))
            if self.server.up:
                self.glance()
        self.proxy.share = 0.0
        self.server.wait_ready(lambda: self.work.take_lines(0.05))
        self.server.up = True
        self.check()
        for _ in range(30):  # no list comes after these, which would mend what a stream missed
            self.work.write_something()
        self.check()
        self.check_tokens()
        self.report()

    def report(self):
        if time.monotonic() >= self.reported_at + REPORT:
            self.reported_at = time.monotonic()
            print(self.summary(), flush=True)

    def summary(self):
        memory = [f"{f.name} {resident(f.probe.process.pid) >> 20} MiB" for f in self.followers]
        self.counts["compactions"] = self.journal.compactions
        counts = [f"{count} {name}" for name, count in sorted(self.counts.items())]
        faults = [f"{count} {name}" for name, count in sorted(self.proxy.counts.items())]
        return (f"soak {time.monotonic() - self.began_at:.0f} s: {', '.join(counts)}; proxy: "
                f"{', '.join(faults)}; memory: {', '.join(memory)}")

    def run(self, seconds):
        """Each harm once in any order, then at random until the time is over."""
        end = time.monotonic() + seconds
        first = self.random.sample(list(self.HARMS), len(self.HARMS))
        while time.monotonic() < end or first:
            weights = [weight for _, weight in self.HARMS.values()]
            self.lap(first.pop() if first else self.random.choices(list(self.HARMS), weights)[0])

    def end(self):
        """The probes' exit codes: not 0 when a sanitizer has found something."""
        return [follower.probe.stop() for follower in self.followers]


class RealSoak(unittest.TestCase):
    def setUp(self):
        if cluster_test.BINARIES is None:
            self.skipTest("needs a server of its own, to be killed")
        build = build_folder()
        if build is None:
            self.skipTest("no client_probe in build/asan or build/release; build the tree first")
        harness.PROBE = os.path.join(build, "tests", "client_probe")
        self.folder = tempfile.mkdtemp(prefix="reknit-soak-")
        self.addCleanup(shutil.rmtree, self.folder)

    def test_soak(self):
        seed = int(os.environ.get("REKNIT_SOAK_SEED", random.SystemRandom().randrange(1 << 31)))
        print(f"soak of {harness.PROBE}: REKNIT_SOAK_SECONDS={SECONDS:g} REKNIT_SOAK_SEED={seed}",
              flush=True)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(Server(os.path.join(self.folder, "api"),
                                                cluster_test.BINARIES))
            journal = stack.enter_context(Journal(server.store,
                                                  f"/registry/configmaps/{NAMESPACE}/"))
            journal.compact_every(COMPACTION)
            files = [server.pki.path(name) for name in ("ca.crt", "server.crt", "server.key")]
            proxy = FaultProxy(server.port, *files, seed).start()
            stack.callback(proxy.stop)
            soak = Soak(self.folder, server, journal, proxy, seed)
            stack.callback(soak.end)
            soak.run(SECONDS)
            print(soak.summary(), flush=True)
            self.assertEqual(soak.end(), [0, 0])


if __name__ == "__main__":
    unittest.main()
