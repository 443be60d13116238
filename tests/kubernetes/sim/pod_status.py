"""The status that a kubelet writes: phases, conditions and container states of a pod."""
from . import clock, special


def container_status(one, state, ready, restarts, last=None):
    """One entry of containerStatuses."""
    status = {"name": one["name"], "image": one.get("image", ""), "imageID": "", "ready": ready,
              "started": "running" in state, "restartCount": restarts, "state": state,
              "lastState": last or {}}
    if "waiting" not in state:
        status["imageID"] = "sim@sha256:" + "0" * 64
        status["containerID"] = "sim://" + one["name"]
    return status


def waiting(reason, message=None):
    """A waiting state."""
    state = {"reason": reason}
    if message:
        state["message"] = message
    return {"waiting": state}


def terminated(code, reason=None, started=None, number=0, message=None):
    """A terminated state; reason is Completed, Error or OOMKilled."""
    state = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"),
             "startedAt": started or clock.stamp(), "finishedAt": clock.stamp(),
             "containerID": "sim://0"}
    if number:
        state["signal"] = number
    if message:
        state["message"] = message
    return {"terminated": state}


def conditions(status, **values):
    """A status with conditions set to True or False."""
    for kind, value in values.items():
        entry = {"type": kind, "status": "True" if value else "False"}
        if kind in ("Ready", "ContainersReady") and not value:
            entry.update(reason="ContainersNotReady", message="containers with unready status")
        status = special.set_condition(status, entry)
    return status


def init_statuses(spec, state, ready):
    """The entries of all init containers, in one state."""
    return [container_status(one, state, ready, 0) for one in spec.get("initContainers") or ()]


def creating(body):
    """A pod whose image is being pulled."""
    spec = body["spec"]
    reason = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
    status = {**body["status"], "phase": "Pending", "hostIP": "127.0.0.1",
              "startTime": body["status"].get("startTime") or clock.stamp()}
    status["containerStatuses"] = [container_status(one, waiting(reason), False, 0)
                                   for one in spec["containers"]]
    if spec.get("initContainers"):
        status["initContainerStatuses"] = init_statuses(spec, waiting("PodInitializing"), False)
    return conditions(status, Initialized=not spec.get("initContainers"), Ready=False,
                      ContainersReady=False)


def pull_failed(body, reason):
    """A pod whose image does not come."""
    message = {"ErrImagePull": "failed to pull and unpack image: not found",
               "ImagePullBackOff": "Back-off pulling image"}.get(reason)
    status = dict(body["status"])
    status["containerStatuses"] = [container_status(one, waiting(reason, message), False, 0)
                                   for one in body["spec"]["containers"]]
    return status


def running(body, ip, ready, restarts, last=None):
    """A pod whose containers run."""
    spec = body["spec"]
    now = {"running": {"startedAt": clock.stamp()}}
    status = {**body["status"], "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    if spec.get("hostNetwork"):
        status["podIP"], status["podIPs"] = "127.0.0.1", [{"ip": "127.0.0.1"}]
    status["containerStatuses"] = [container_status(one, now, ready, restarts, last)
                                   for one in spec["containers"]]
    if spec.get("initContainers"):
        status["initContainerStatuses"] = init_statuses(spec, terminated(0), True)
    return conditions(status, Initialized=True, Ready=ready, ContainersReady=ready)


def made_ready(body):
    """A running pod that became ready."""
    status = dict(body["status"])
    status["containerStatuses"] = [{**s, "ready": True} for s in status["containerStatuses"]]
    return conditions(status, Ready=True, ContainersReady=True)


def ended(body, state, states, restarts, phase):
    """A pod whose containers have all ended: each as `states` has it, else the first in `state`."""
    code = state["terminated"]["exitCode"]
    status = {**body["status"], "phase": phase}
    others = state if code == 0 else terminated(143)
    status["containerStatuses"] = [
        container_status(one, states.get(one["name"], others if place else state), False, restarts)
        for place, one in enumerate(body["spec"]["containers"])]
    return conditions(status, Ready=False, ContainersReady=False)


def init_failed(body, state):
    """A pod whose init container failed for good."""
    status = {**body["status"], "phase": "Failed"}
    first, *rest = body["spec"]["initContainers"]
    status["initContainerStatuses"] = [container_status(first, state, False, 0)] + [
        container_status(one, waiting("PodInitializing"), False, 0) for one in rest]
    return conditions(status, Initialized=False, Ready=False, ContainersReady=False)


def backing_off(body, state, restarts):
    """A pod between the end of its containers and their restart."""
    message = "back-off restarting failed container"
    status = {**body["status"], "phase": "Running"}
    status["containerStatuses"] = [
        container_status(one, waiting("CrashLoopBackOff", message), False, restarts, state)
        for one in body["spec"]["containers"]]
    return conditions(status, Ready=False, ContainersReady=False)
