"""The scheduler: a node for each pod, or the reason why there is none."""
from . import quantity, recorder, selectors, special, store, workqueue

TERMINAL = ("Succeeded", "Failed")


def uses(body):
    """True for a pod that takes room on a node."""
    return bool(body["spec"].get("nodeName")) and (
        body.get("status") or {}).get("phase") not in TERMINAL


def tolerates(taint, tolerations):
    """True when a toleration covers a taint."""
    for one in tolerations:
        if one.get("effect") not in (None, "", taint["effect"]):
            continue
        if one.get("operator") == "Exists" and one.get("key") in (None, "", taint["key"]):
            return True
        if one.get("key") == taint["key"] and one.get("value", "") == taint.get("value", ""):
            return True
    return False


def term_accepts(term, node):
    """True when a term of a node affinity takes a node; an empty one takes none."""
    name = node["metadata"]["name"]
    fields = term.get("matchFields") or ()
    if not fields and not term.get("matchExpressions"):
        return False
    if any((name in one["values"]) != (one["operator"] == "In") for one in fields):
        return False
    return selectors.from_object(term)(node["metadata"].get("labels") or {})


def affinity_accepts(spec, node):
    """True when the required node affinity takes a node."""
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(term_accepts(term, node) for term in required.get("nodeSelectorTerms") or ())


class Scheduler:
    """Binds pods that have no node, in the order in which they came."""

    def __init__(self, world):
        self.world = world
        self.pending = {}
        self.used = {}
        self.queue = workqueue.Queue(world, self.round)
        world.store.listeners.append(self.changed)

    def end(self):
        """Binds no more."""
        self.queue.end()

    def changed(self, key, change):
        """Keeps the books, and wants a round when something may fit now."""
        if key == "nodes":
            self.queue.add("round")
        if key != "pods":
            return
        if change.previous is not None:
            self.book(change.previous.body, -1)
        if change.kind != store.DELETED:
            self.book(change.item.body, 1)
        self.follow(change)

    def book(self, body, sign):
        """Adds a pod to its node's use, or takes it away."""
        if not uses(body):
            return
        used = self.used.setdefault(body["spec"]["nodeName"], {})
        for name, amount in {**quantity.requests_of(body["spec"]), "pods": 1}.items():
            used[name] = used.get(name, 0) + sign * amount

    def follow(self, change):
        """Keeps the list of pods that wait."""
        body = change.item.body
        uid = body["metadata"]["uid"]
        waits = (change.kind != store.DELETED and not body["spec"].get("nodeName")
                 and not body["metadata"].get("deletionTimestamp")
                 and not body["spec"].get("schedulingGates"))
        if waits and uid not in self.pending:
            self.pending[uid] = change.item.key
            self.queue.add("round")
        elif not waits:
            known = self.pending.pop(uid, None)
            freed = change.previous is not None and uses(change.previous.body)
            if self.pending and freed and known is None and (
                    change.kind == store.DELETED or not uses(body)):
                self.queue.add("round")

    def round(self, _):
        """Tries every pod that waits."""
        nodes = [item.body for item in self.world.store.items("nodes")]
        nodes.sort(key=lambda body: body["metadata"]["name"])
        for key in list(self.pending.values()):
            item = self.world.store.get("pods", *key)
            if item:
                self.place(item, nodes)

    def place(self, item, nodes):
        """Binds a pod to the emptiest node that takes it, or says why none does."""
        wanted = {**quantity.requests_of(item.body["spec"]), "pods": 1}
        reasons = {}
        best = None
        for node in nodes:
            why = self.refusal(item.body["spec"], node, wanted)
            if why:
                reasons[why] = reasons.get(why, 0) + 1
                continue
            load = self.used.get(node["metadata"]["name"], {}).get("pods", 0)
            if best is None or load < best[0]:
                best = (load, node["metadata"]["name"])
        if best:
            item = special.bind_pod(self.world, item, best[1])
            recorder.record(self.world, item, "default-scheduler", "Normal", "Scheduled",
                            f"Successfully assigned {'/'.join(item.key)} to {best[1]}")
            return
        self.unschedulable(item, nodes, reasons)

    def refusal(self, spec, node, wanted):
        """Why a node does not take a pod, or None."""
        labels = node["metadata"].get("labels") or {}
        if node["spec"].get("unschedulable"):
            return "node(s) were unschedulable"
        for taint in node["spec"].get("taints") or ():
            if taint["effect"] != "PreferNoSchedule" and not tolerates(
                    taint, spec.get("tolerations") or ()):
                return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
        if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
            return "node(s) didn't match Pod's node affinity/selector"
        if not affinity_accepts(spec, node):
            return "node(s) didn't match Pod's node affinity/selector"
        used = self.used.get(node["metadata"]["name"], {})
        room = node["status"]["allocatable"]
        for name, amount in wanted.items():
            if used.get(name, 0) + amount > (quantity.parse(room.get(name, "0")) or 0) + 1e-9:
                return "Too many pods" if name == "pods" else f"Insufficient {name}"
        return None

    def unschedulable(self, item, nodes, reasons):
        """Writes the condition of a pod that finds no node."""
        parts = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        message = f"0/{len(nodes)} nodes are available" + (f": {parts}." if parts else ".")
        old = next((c for c in item.body["status"].get("conditions") or ()
                    if c["type"] == "PodScheduled"), {})
        if old.get("message") == message:
            return
        status = special.set_condition(item.body["status"], {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message})
        item = self.world.store.replace("pods", item, {**item.body, "status": status})
        recorder.record(self.world, item, "default-scheduler", "Warning", "FailedScheduling",
                        message)
