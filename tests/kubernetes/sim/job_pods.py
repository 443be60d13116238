"""The pods of a Job: which it has, which it lacks, and how one is made."""
import copy

from . import errors, objects, recorder

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
TERMINAL = ("Succeeded", "Failed")


def controller_of(body):
    """The uid of the Job that controls a pod, or None."""
    for owner in body["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == "Job":
            return owner["uid"]
    return None


def of_job(world, uid):
    """The pods that a Job controls, oldest first."""
    found = [item for key, item in world.store.owned_by(uid)
             if key == "pods" and controller_of(item.body) == uid]
    return sorted(found, key=lambda item: (item.body["metadata"]["creationTimestamp"], item.key))


def tracked(body):
    """True for a pod that waits to be counted."""
    return FINALIZER in (body["metadata"].get("finalizers") or ())


def terminal(body):
    """True for a pod that has ended."""
    return (body.get("status") or {}).get("phase") in TERMINAL


def untrack(world, item):
    """Takes the finalizer from a pod, which may be its end."""
    metadata = dict(item.body["metadata"])
    kept = [f for f in metadata["finalizers"] if f != FINALIZER]
    metadata["finalizers"] = kept
    if not kept:
        del metadata["finalizers"]
    item = world.store.replace("pods", item, {**item.body, "metadata": metadata})
    objects.end_if_free(world, world.registry.core("pods"), item)


class Count:
    """A Job's pods by what they are doing."""

    def __init__(self, job, pods, counted):
        patient = job["spec"].get("podReplacementPolicy") == "Failed"
        self.pods = pods
        self.active, self.terminating, self.new_succeeded, self.new_failed = [], [], [], []
        self.ended = []
        for item in pods:
            phase = (item.body.get("status") or {}).get("phase")
            leaving = bool(item.body["metadata"].get("deletionTimestamp"))
            known = item.body["metadata"]["uid"] in counted
            if phase == "Succeeded":
                self.ended.append(item)
                self.new_succeeded += [] if known else [item]
            elif phase == "Failed":
                self.ended.append(item)
                self.new_failed += [] if known else [item]
            elif leaving:
                self.terminating.append(item)
                self.new_failed += [] if known or patient else [item]
                if not item.body["metadata"].get("deletionGracePeriodSeconds"):
                    self.ended.append(item)
            else:
                self.active.append(item)

    @property
    def ready(self):
        """How many active pods are ready."""
        return sum(any(c["type"] == "Ready" and c["status"] == "True"
                       for c in item.body["status"].get("conditions") or ())
                   for item in self.active)


def stop(world, pods):
    """Deletes pods, without their counting."""
    resource = world.registry.core("pods")
    for item in pods:
        if tracked(item.body):
            untrack(world, item)
        current = world.store.get("pods", *item.key)
        if current and not current.body["metadata"].get("deletionTimestamp"):
            objects.delete(world, resource, current)


def complete(job, status, count):
    """True when a Job has what it was made for."""
    completions = job["spec"].get("completions")
    if completions is None:
        return status.get("succeeded", 0) > 0 and not count.active
    return status.get("succeeded", 0) >= completions


def wanted(job, status):
    """How many active pods a Job is to have now."""
    spec = job["spec"]
    if spec.get("completions") is None:
        return 0 if status.get("succeeded", 0) else spec["parallelism"]
    left = spec["completions"] - status.get("succeeded", 0)
    return max(0, min(spec["parallelism"], left))


def restarts(job, active):
    """The container restarts that count against the limit."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return 0
    return sum(s.get("restartCount", 0) for item in active
               for name in ("initContainerStatuses", "containerStatuses")
               for s in item.body["status"].get(name) or ())


def free_index(count, job):
    """The lowest index that no pod has, for an Indexed Job."""
    taken = {int(item.body["metadata"]["annotations"][INDEX]) for item in count.pods
             if item in count.active
             or (item.body.get("status") or {}).get("phase") == "Succeeded"}
    return next(i for i in range(job["spec"]["completions"] + 1) if i not in taken)


def body_of(world, item, index):
    """A new pod of a Job."""
    job = item.body
    name = job["metadata"]["name"]
    template = copy.deepcopy(job["spec"]["template"])
    metadata = {k: v for k, v in (template.get("metadata") or {}).items()
                if k in ("labels", "annotations", "finalizers")}
    metadata["generateName"] = f"{name}-"
    metadata["ownerReferences"] = [{
        "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True}]
    if world.config.minor >= 26:
        metadata["finalizers"] = [*metadata.get("finalizers", ()), FINALIZER]
    if index is not None:
        metadata["generateName"] = f"{name}-{index}-"
        metadata["annotations"] = {**metadata.get("annotations", {}), INDEX: str(index)}
        metadata["labels"] = {**metadata.get("labels", {}), INDEX: str(index)}
        template["spec"].setdefault("hostname", f"{name}-{index}")
        for one in template["spec"]["containers"]:
            one["env"] = [*(one.get("env") or ()),
                          {"name": "JOB_COMPLETION_INDEX", "value": str(index)}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": template["spec"]}


def create(world, item, count, number):
    """Creates pods; False when the server refused one."""
    resource = world.registry.core("pods")
    namespace = item.body["metadata"]["namespace"]
    indexed = item.body["spec"].get("completionMode") == "Indexed"
    for _ in range(number):
        index = free_index(count, item.body) if indexed else None
        try:
            made = objects.create(world, resource, namespace, body_of(world, item, index))
        except errors.ApiError as error:
            recorder.record(world, item, "job-controller", "Warning", "FailedCreate",
                            f"Error creating: {error.message}"[:1000])
            return False
        count.active.append(made)
        count.pods.append(made)
        recorder.record(world, item, "job-controller", "Normal", "SuccessfulCreate",
                        f"Created pod: {made.body['metadata']['name']}")
    return True


def exit_matches(rule, pod):
    """The exit code of a pod that an onExitCodes rule takes, or None."""
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (one.get("state") or {}).get("terminated")
        if not ended or ended["exitCode"] == 0:
            continue
        if rule.get("containerName") not in (None, one["name"]):
            continue
        inside = ended["exitCode"] in rule["values"]
        if inside == (rule["operator"] == "In"):
            return ended["exitCode"]
    return None


def failure_action(job, pod):
    """(action, sentence) of the Job's failure policy for a pod that failed."""
    name = f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}"
    for place, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules", ())):
        codes = rule.get("onExitCodes")
        if codes:
            code = exit_matches(codes, pod)
            if code is not None:
                return rule["action"], (f"Container {codes.get('containerName', 'main')} for pod"
                                        f" {name} failed with exit code {code} matching"
                                        f" {rule['action']} rule at index {place}")
        for wanted_one in rule.get("onPodConditions") or ():
            for have in (pod.get("status") or {}).get("conditions") or ():
                if (have["type"], have["status"]) == (wanted_one["type"],
                                                      wanted_one.get("status", "True")):
                    return rule["action"], (f"Pod {name} has condition {have['type']} matching"
                                            f" {rule['action']} rule at index {place}")
    return "Count", ""
