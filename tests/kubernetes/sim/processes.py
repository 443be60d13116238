"""The process kubelet: the containers of a pod are local processes (sandbox.py).

Each pod has an address of its own on the loopback.  A pod restarts as a whole, not container by
container; readiness is running.
"""
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import traceback

from . import fields, kubelet, pod_status, runs, sandbox, volumes

REFRESH = 10.0  # sim seconds from a ConfigMap's change to its files, unless the pod changes too


class ProcessKubelet(kubelet.Kubelet):
    """Runs the pods of all nodes as processes of this machine."""

    def __init__(self, world):
        self.claim, self.PREFIX = runs.claim_addresses()
        super().__init__(world)
        self.root = tempfile.mkdtemp(prefix="reknit-sim-")
        self.images = {}
        self.service = ("127.0.0.1", 0)
        self.tasks = set()

    def end(self):
        """Kills what runs."""
        for run in list(self.runs.values()):
            self.kill(run)
        super().end()

    async def finish(self):
        """Waits for the last process, and removes all files."""
        while self.tasks:
            await asyncio.wait(self.tasks)
        shutil.rmtree(self.root, ignore_errors=True)

    def call_image(self, given):
        """What an image has: `name`; `root`, in place of the machine's; `folder`, laid over the
        root; `command`, `args`."""
        self.images[given.pop("name")] = given

    def changed(self, key, change):
        """Also follows what volumes are made from."""
        super().changed(key, change)
        if key in ("configmaps", "secrets"):
            for run in self.runs.values():
                if run.key[0] == change.item.key[0] and run.alive:
                    self.soon(run, REFRESH, self.refresh)
        elif key == "pods" and change.previous is not None:
            run = self.runs.get(change.item.body["metadata"]["uid"])
            before = change.previous.body["metadata"]
            now = change.item.body["metadata"]
            if run and run.alive and any(before.get(k) != now.get(k)
                                         for k in ("labels", "annotations")):
                self.soon(run, 0.0, self.refresh)

    def refresh(self, run):
        """Writes the volumes of a running pod as their sources are now."""
        item = self.item(run)
        if item and run.alive:
            try:
                run.volumes.refresh(item.body)
            except fields.Missing:
                pass

    def adopt(self, item):
        """A pod that was bound: it gets a folder."""
        super().adopt(item)
        run = self.runs[item.body["metadata"]["uid"]]
        run.folder = os.path.join(self.root, run.uid)
        run.containers = []
        run.token = None
        claims = os.path.join(self.root, "claims")
        run.volumes = volumes.Volumes(self.world, os.path.join(run.folder, "volumes"), claims,
                                      lambda: self.token_of(run))

    def forget(self, run):
        """The pod's folder goes when its processes have gone."""
        super().forget(run)
        self.task(self.clean(run))

    async def clean(self, run):
        """Removes a pod's folder."""
        for one in run.containers:
            if one.process:
                await one.process.wait()
        if run.token:
            self.world.access.drop_token(run.token)
        shutil.rmtree(run.folder, ignore_errors=True)

    def token_of(self, run):
        """The service account's token of a pod."""
        if run.token is None:
            body = self.item(run).body
            run.token = self.world.access.account_token(
                body["metadata"]["namespace"], body["spec"].get("serviceAccountName", "default"))
        return run.token

    def call_pod_token(self, given):
        """A pod's token is replaced in its volume, and the old one is not valid any more."""
        run = self.find(given)
        self.world.access.drop_token(run.token)
        run.token = None
        self.refresh(run)

    def task(self, work):
        """Runs a coroutine; what it raises is our fault and is kept."""
        async def guarded():
            try:
                await work
            except asyncio.CancelledError:
                pass
            except Exception:  # the server goes on; the tests look at the record
                self.world.journal.errors.append(traceback.format_exc())
                traceback.print_exc(file=sys.stderr)

        task = asyncio.get_running_loop().create_task(guarded())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def initialise(self, run):
        """The pod's processes are started, the init containers first."""
        self.task(self.live(run))

    def launch(self, run):
        """The containers start once more."""
        self.task(self.live(run))

    async def live(self, run):
        """The life of a pod's containers, from volumes to their end."""
        item = self.item(run)
        if item is None or run.stopping:
            return
        try:
            os.makedirs(run.folder, exist_ok=True)
            body = self.with_address(run, item.body)
            run.volumes.prepare(body)
            if not await self.run_init(run, body):
                return
            await self.run_main(run, body)
        except fields.Missing as error:
            self.event(run, "Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
            self.soon(run, 1.0, self.initialise)

    def with_address(self, run, body):
        """A pod as its containers see it: it has its address before its status says so."""
        status = {**body["status"], "podIP": run.ip, "podIPs": [{"ip": run.ip}],
                  "hostIP": "127.0.0.1"}
        return {**body, "status": status}

    async def begin_container(self, run, body, spec):
        """Starts one container."""
        one = sandbox.Container(run.folder, spec, self.images.get(spec["image"], {}))
        run.containers = [c for c in run.containers if c.spec["name"] != spec["name"]] + [one]
        name = body["spec"].get("hostname") or body["metadata"]["name"]
        host, port = self.service
        base = {"PATH": sandbox.PATH, "HOME": "/root", "HOSTNAME": name,
                "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port),
                "KUBERNETES_SERVICE_PORT_HTTPS": str(port)}
        environment = fields.environment(self.world, body, spec, base)
        words = [fields.expand(word, environment) for word in one.words()]
        hosts = f"127.0.0.1 localhost\n{run.ip} {name}\n" + "".join(
            f"{a['ip']} {' '.join(a['hostnames'])}\n" for a in body["spec"].get("hostAliases", ()))
        script = one.script(body, run.volumes.paths, name, hosts, environment)
        await one.start(script, words)
        await one.started()
        return one

    async def run_init(self, run, body):
        """Runs the init containers; False when the pod does not go on."""
        for spec in body["spec"].get("initContainers") or ():
            one = await self.begin_container(run, body, spec)
            if spec.get("restartPolicy") == "Always":
                continue
            await one.wait()
            if one.code == 0 and self.item(run) and not run.stopping:
                continue
            if run.stopping and self.item(run):
                self.confirm(run)
            elif self.item(run):
                self.init_ended(run, body, one)
            return False
        return True

    def init_ended(self, run, body, one):
        """An init container failed: the pod does too, or tries again."""
        state = pod_status.terminated(one.code, None, None, one.number, one.last_words())
        if body["spec"]["restartPolicy"] == "Never":
            self.write(run, pod_status.init_failed, state)
            return
        delay = kubelet.BACKOFF[min(run.restarts, len(kubelet.BACKOFF) - 1)]
        run.restarts += 1
        self.soon(run, delay, self.initialise)

    async def run_main(self, run, body):
        """Runs the containers to their end."""
        mains = [await self.begin_container(run, body, spec)
                 for spec in body["spec"]["containers"]]
        if self.runs.get(run.uid) is not run:
            self.kill(run)
            return
        run.alive = True
        run.reason = None
        self.step(run, self.started, ())
        if run.stopping:
            self.stop(run)
        for one in mains:
            await one.wait()
        for one in run.containers:
            one.signal(signal.SIGKILL)
        self.step(run, self.all_ended, (mains,))

    def all_ended(self, run, mains):
        """Every container has ended."""
        run.states = {one.spec["name"]: pod_status.terminated(
            one.code, run.reason, None, one.number, one.last_words()) for one in mains}
        worst = next((one for one in mains if one.code), mains[0])
        self.ended(run, worst.code, run.reason, worst.number, worst.last_words())

    def stop(self, run):
        """SIGTERM; SIGKILL when the grace is over."""
        if not any(one.first() for one in run.containers):
            if run.alive:
                return  # all_ended is on its way
            self.confirm(run)
            return
        for one in run.containers:
            one.signal(signal.SIGTERM)
        grace = self.item(run).body["metadata"].get("deletionGracePeriodSeconds", 30)
        self.soon(run, grace, self.out_of_grace)

    def out_of_grace(self, run):
        """SIGKILL."""
        for one in run.containers:
            one.signal(signal.SIGKILL)

    def kill(self, run):
        """The containers end at once."""
        super().kill(run)
        for one in run.containers:
            one.signal(signal.SIGKILL)

    def call_pod_exit(self, given):
        """A pod's containers are killed: `name`, `reason` (OOMKilled), `signal` (9)."""
        run = self.find(given)
        run.reason = given.get("reason")
        for one in run.containers:
            one.signal(given.get("signal", signal.SIGKILL))

    def call_pod_processes(self, given):
        """The process numbers of a pod: {container: [first, ...]}."""
        run = self.find(given)
        return {one.spec["name"]: one.members() for one in run.containers}

    def node_lost(self, name, processes):
        """A node's processes are killed, stopped, or left to run on their own (`leave`)."""
        super().node_lost(name, processes)
        for run in [r for r in self.runs.values() if r.node == name]:
            for one in run.containers:
                if processes == "kill":
                    one.signal(signal.SIGKILL)
                elif processes == "stop":
                    for pid in one.members():
                        os.kill(pid, signal.SIGSTOP)

    def node_back(self, name):
        """Stopped processes go on."""
        for run in [r for r in self.runs.values() if r.node == name]:
            for one in run.containers:
                for pid in one.members():
                    os.kill(pid, signal.SIGCONT)
        super().node_back(name)

    def log_of(self, item, container):
        """The log of a container, or None before it has started."""
        run = self.runs.get(item.body["metadata"]["uid"])
        wanted = container or item.body["spec"]["containers"][0]["name"]
        for one in run.containers if run else ():
            if one.spec["name"] == wanted and os.path.exists(one.log):
                with open(one.log, "rb") as f:
                    return f.read()
        return None
