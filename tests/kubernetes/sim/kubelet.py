"""The fake kubelets of all nodes: pods that go through their phases without any container.

The steps of a pod are timers; while its node is lost they wait, as nobody would hear of them, and
go on when it is back.
"""
from . import errors, objects, plans, pod_status, recorder, runs, special, store

TERMINAL = ("Succeeded", "Failed")
BACKOFF = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)


class Kubelet:
    """Runs the pods of all nodes."""

    PREFIX = "10.244."

    def __init__(self, world):
        self.world = world
        self.plans = plans.Plans(world.random)
        if world.config.loopback:
            self.claim, self.PREFIX = runs.claim_addresses()
        self.addresses = runs.Addresses(self.PREFIX, 2)
        self.runs = {}
        self.lost = set()
        world.store.listeners.append(self.changed)

    def end(self):
        """Runs nothing any more."""
        for run in list(self.runs.values()):
            self.forget(run)

    def call_plan(self, given):
        """Adds a plan (plans.py)."""
        self.plans.add(given)

    def call_plans_clear(self, given):
        """Drops all plans; `defaults` sets what pods without one get."""
        self.plans.plans.clear()
        self.plans.defaults.update(given.get("defaults", {}))

    def changed(self, key, change):
        """Starts what was bound, stops what is to go, forgets what is gone."""
        if key != "pods":
            return
        body = change.item.body
        run = self.runs.get(body["metadata"]["uid"])
        if change.kind == store.DELETED:
            if run:
                self.kill(run)
                self.forget(run)
            return
        if run is None:
            if body["spec"].get("nodeName") and body["status"].get("phase") not in TERMINAL:
                self.adopt(change.item)
            return
        if body["metadata"].get("deletionTimestamp") and not run.stopping:
            run.stopping = True
            self.soon(run, 0.0, self.stop)

    def adopt(self, item):
        """A pod that was bound to a node."""
        run = runs.Run(item, self.addresses.take())
        self.runs[run.uid] = run
        self.soon(run, 0.0, self.begin)

    def forget(self, run):
        """Nothing of a pod is left on its node."""
        run.cancel()
        if self.runs.pop(run.uid, None):
            self.addresses.give(run.ip)

    def soon(self, run, seconds, step, *arguments):
        """Takes a step of a run after so many sim seconds."""
        run.timers = [t for t in run.timers if not t.cancelled()][-8:]
        run.timers.append(self.world.clock.later(seconds, self.step, run, step, arguments))

    def step(self, run, step, arguments):
        """Takes a step now, or keeps it while the node is lost."""
        if self.runs.get(run.uid) is not run:
            return
        if run.node in self.lost:
            run.late.append((step, arguments))
            return
        step(run, *arguments)

    def item(self, run):
        """The pod of a run as it is stored now, or None."""
        item = self.world.store.get("pods", *run.key)
        return item if item and item.body["metadata"]["uid"] == run.uid else None

    def write(self, run, make, *arguments):
        """Stores a status made from the pod as it is; returns the new item or None."""
        item = self.item(run)
        if item is None or item.body["status"].get("phase") in TERMINAL:
            return None
        status = make(item.body, *arguments)
        return self.world.store.replace("pods", item, {**item.body, "status": status})

    def begin(self, run):
        """The image is pulled."""
        item = self.write(run, pod_status.creating)
        if item is None or run.stopping:
            return
        run.plan = self.plans.take(item.body)
        seconds = item.body["spec"].get("activeDeadlineSeconds")
        if seconds is not None:
            self.soon(run, seconds, self.overdue)
        self.pull(run)

    def pull(self, run):
        """The image comes, or does not."""
        if run.plan.get("pull_error"):
            self.write(run, pod_status.pull_failed, run.plan["pull_error"])
            self.event(run, "Warning", "Failed", f"Error: {run.plan['pull_error']}")
            return
        self.soon(run, self.plans.time(run.plan["pull"]), self.initialise)

    def initialise(self, run):
        """The init containers run."""
        item = self.item(run)
        if item is None or run.stopping:
            return
        if run.plan.get("init_exit") and item.body["spec"].get("initContainers"):
            self.write(run, pod_status.init_failed, pod_status.terminated(run.plan["init_exit"]))
            return
        self.launch(run)

    def launch(self, run):
        """The containers start."""
        run.alive = True
        self.started(run)
        if run.plan.get("run") is not None:
            self.soon(run, self.plans.time(run.plan["run"]), self.planned_end, run.restarts)

    def started(self, run):
        """Says that the containers run."""
        ready = run.plan.get("ready", 0.0)
        at_once = ready == 0.0
        self.write(run, pod_status.running, run.ip, at_once, run.restarts, run.last)
        self.event(run, "Normal", "Started", "Started container")
        if not at_once and ready != -1:
            self.soon(run, self.plans.time(ready), self.become_ready)

    def become_ready(self, run):
        """The containers are ready."""
        if run.alive:
            self.write(run, pod_status.made_ready)

    def planned_end(self, run, restarts):
        """The containers end as their plan says."""
        if run.alive and run.restarts == restarts:
            plan = run.plan
            self.ended(run, plan.get("exit", 0), plan.get("reason"), plan.get("signal", 0),
                       plan.get("message"))

    def ended(self, run, code, reason=None, number=0, message=None):
        """The containers have ended: restart them, or end the pod."""
        if not run.alive:
            return
        run.alive = False
        item = self.item(run)
        if item is None:
            return
        state = pod_status.terminated(code, reason, None, number, message)
        policy = item.body["spec"]["restartPolicy"]
        if run.stopping or policy == "Never" or (policy == "OnFailure" and code == 0):
            self.write(run, pod_status.ended, state, run.states, run.restarts,
                       "Failed" if code else "Succeeded")
            if run.stopping:
                self.confirm(run)
            return
        run.last = state
        delay = BACKOFF[min(run.restarts, len(BACKOFF) - 1)]
        run.restarts += 1
        if delay:
            self.write(run, pod_status.backing_off, state, run.restarts)
        self.soon(run, delay, self.again)

    def again(self, run):
        """The containers start once more."""
        item = self.item(run)
        if item is None or run.stopping:
            return
        run.plan = self.plans.take(item.body)
        self.launch(run)

    def overdue(self, run):
        """The pod's own deadline is over."""
        self.kill(run)
        self.fail(run, "DeadlineExceeded", "Pod was active on the node longer than the specified"
                  " deadline")

    def fail(self, run, reason, message):
        """The kubelet itself ends a pod."""
        run.alive = False
        run.cancel()

        def make(body):
            return {**body["status"], "phase": "Failed", "reason": reason, "message": message}

        item = self.write(run, make)
        if item and item.body["metadata"].get("deletionTimestamp"):
            self.confirm(run)

    def stop(self, run):
        """The pod is to go: SIGTERM, the time that it takes, its end, and word of it."""
        if not run.alive:
            self.confirm(run)
            return
        self.soon(run, self.plans.time(run.plan["stop"]), self.stopped)
        grace = self.item(run).body["metadata"].get("deletionGracePeriodSeconds", 30)
        self.soon(run, grace, self.out_of_grace)

    def stopped(self, run):
        """The containers have ended on SIGTERM."""
        self.ended(run, run.plan["stop_exit"])

    def out_of_grace(self, run):
        """SIGKILL."""
        self.ended(run, 137, None, 9)

    def confirm(self, run):
        """Nothing of the pod runs any more: its object may go."""
        item = self.item(run)
        if item is None:
            return
        resource = self.world.registry.core("pods")
        self.write(run, lambda body: {**body["status"], "phase": "Failed"})
        objects.delete(self.world, resource, self.item(run), {
            "gracePeriodSeconds": 0, "preconditions": {"uid": run.uid}})

    def kill(self, run):
        """The containers end at once."""
        run.alive = False

    def event(self, run, kind, reason, message):
        """Writes an event about a pod."""
        item = self.item(run)
        if item:
            recorder.record(self.world, item, "kubelet", kind, reason, message)

    def node_lost(self, name, processes):
        """Nothing more is heard of a node."""
        del processes
        self.lost.add(name)

    def node_back(self, name):
        """A node goes on with what waited, or ends what is no longer wanted."""
        self.lost.discard(name)
        for run in [r for r in self.runs.values() if r.node == name]:
            late, run.late = run.late, []
            for step, arguments in late:
                self.step(run, step, arguments)
            if run.alive and not run.stopping:
                self.write(run, pod_status.made_ready)

    def find(self, given):
        """The run of a pod that a control call names."""
        item = self.world.store.get("pods", given.get("namespace", "default"), given["name"])
        if item is None:
            raise errors.not_found(self.world.registry.core("pods"), given["name"])
        run = self.runs.get(item.body["metadata"]["uid"])
        if run is None:
            raise KeyError(f"{given['name']} runs on no node")
        return run

    def call_pod_exit(self, given):
        """A pod's containers end now: `name`, `exit`, `reason` (OOMKilled), `signal`, `message`."""
        run = self.find(given)
        self.ended(run, given.get("exit", 137 if given.get("reason") == "OOMKilled" else 0),
                   given.get("reason"), given.get("signal", 0), given.get("message"))

    def call_pod_evict(self, given):
        """A pod loses its place: `kind` kubelet, preempt, taint or api."""
        run = self.find(given)
        kind = given.get("kind", "kubelet")
        item = self.item(run)
        if kind == "kubelet":
            text = given.get("message", "The node was low on resource: memory.")
            special.disrupt(self.world, item, "TerminationByKubelet", text)
            self.kill(run)
            self.fail(run, "Evicted", text)
            return
        reason = {"preempt": "PreemptionByScheduler", "taint": "DeletionByTaintManager",
                  "api": "EvictionByEvictionAPI"}[kind]
        item = special.disrupt(self.world, item, reason, given.get("message", reason))
        objects.delete(self.world, self.world.registry.core("pods"), item)

    def log_of(self, item, container):
        """The log of a pod's container, or None before it has started."""
        del container
        run = self.runs.get(item.body["metadata"]["uid"])
        if run is None or not (run.alive or run.restarts or run.log):
            return None
        return run.log

    def call_pod_log(self, given):
        """Sets what a pod's log is: `text`."""
        self.find(given).log = given["text"].encode()
