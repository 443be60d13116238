"""Fields that may not change once an object is there."""
from .errors import cause

POD_TEXT = ("pod updates may not change fields other than `spec.containers[*].image`,"
            " `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`,"
            " `spec.tolerations` (only additions to existing tolerations),"
            " `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously"
            " negative)")
JOB_FIELDS = ("completionMode", "selector", "podFailurePolicy", "backoffLimitPerIndex",
              "managedBy")
DIRECTIVES = ("nodeSelector", "tolerations", "affinity", "schedulingGates")
IMMUTABLE = "field is immutable"


def without_images(containers):
    """Containers with the one field blanked that may change."""
    return [{k: v for k, v in one.items() if k != "image"} for one in containers or ()]


def pod_core(spec):
    """A pod's spec without what may change."""
    core = {k: v for k, v in spec.items()
            if k not in ("activeDeadlineSeconds", "tolerations", "schedulingGates")}
    for name in ("containers", "initContainers"):
        core[name] = without_images(spec.get(name))
    if spec.get("schedulingGates"):
        core.pop("nodeSelector", None)
        core.pop("affinity", None)
    return core


def pod(before, after):
    """The faults of a pod's update."""
    old, new = before["spec"], dict(after.get("spec") or {})
    if old.get("schedulingGates"):
        old = {k: v for k, v in old.items() if k not in ("nodeSelector", "affinity")}
        new = {k: v for k, v in new.items() if k not in ("nodeSelector", "affinity")}
    gates = [g for g in new.get("schedulingGates") or ()
             if g not in (old.get("schedulingGates") or ())]
    lost = [t for t in old.get("tolerations") or () if t not in (new.get("tolerations") or ())]
    if pod_core(old) != pod_core(new) or gates or lost:
        return [cause("forbidden", "spec", POD_TEXT)]
    return []


def template_core(template):
    """A Job's template without what a suspended Job that never ran may change."""
    spec = {k: v for k, v in (template.get("spec") or {}).items() if k not in DIRECTIVES}
    metadata = {k: v for k, v in (template.get("metadata") or {}).items()
                if k not in ("labels", "annotations")}
    return spec, metadata


def job(before, after):
    """The faults of a Job's update."""
    old, new = before["spec"], after.get("spec") or {}
    found = [cause("invalid", f"spec.{name}", IMMUTABLE, new.get(name)) for name in JOB_FIELDS
             if old.get(name) != new.get(name)]
    if old.get("completions") != new.get("completions"):
        elastic = (old.get("completionMode") == "Indexed"
                   and new.get("completions") == new.get("parallelism"))
        if not elastic:
            found.append(cause("invalid", "spec.completions", IMMUTABLE, new.get("completions")))
    if old.get("template") != new.get("template"):
        free = old.get("suspend") and not (before.get("status") or {}).get("startTime")
        if not free or template_core(old["template"]) != template_core(new.get("template") or {}):
            found.append(cause("invalid", "spec.template", IMMUTABLE, new.get("template")))
    return found


def data(before, after):
    """The faults of an update of a ConfigMap or Secret that is marked immutable."""
    found = []
    if before.get("type") != after.get("type"):
        found.append(cause("invalid", "type", IMMUTABLE, after.get("type")))
    if before.get("immutable"):
        if not after.get("immutable"):
            found.append(cause("forbidden", "immutable", "field is immutable when `immutable` is"
                               " set"))
        for name in ("data", "binaryData"):
            if before.get(name) != after.get(name):
                found.append(cause("forbidden", name, "field is immutable when `immutable` is"
                                   " set"))
    return found


def service(before, after):
    """The faults of a Service's update."""
    old, new = before["spec"], after.get("spec") or {}
    if old.get("clusterIP") and new.get("clusterIP") != old["clusterIP"]:
        text = "may not change once set" if new.get("clusterIP") else IMMUTABLE
        return [cause("invalid", "spec.clusterIPs[0]", text, new.get("clusterIP"))]
    return []


BY_KEY = {"pods": pod, "jobs.batch": job, "configmaps": data, "secrets": data,
          "services": service}


def causes(resource, before, after):
    """The faults of an update of any resource."""
    found = []
    old = before["metadata"]
    if old.get("deletionTimestamp"):
        fresh = [f for f in after["metadata"].get("finalizers") or ()
                 if f not in (old.get("finalizers") or ())]
        if fresh:
            found.append(cause("forbidden", "metadata.finalizers", "no new finalizers can be added"
                               " if the object is being deleted"))
    function = BY_KEY.get(resource.key)
    if resource.key == "pods" and before["spec"] == after.get("spec"):
        return found
    return found + (function(before, after) if function else [])
