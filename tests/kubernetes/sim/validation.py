"""The rules for new and changed objects: 422 with a cause for each fault of a field."""
import re

from . import names, quantity
from .errors import cause

POLICIES = ("Always", "OnFailure", "Never")
EVENT_LIMIT = 1024
DATA_LIMIT = 1048576
KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
ENV_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")


def supported(values):
    """The tail of an 'Unsupported value' sentence."""
    return "supported values: " + ", ".join(f'"{v}"' for v in values)


def env_causes(variables, field):
    """The faults of a container's environment."""
    found = []
    for place, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            found.append(cause("required", f"{field}[{place}].name"))
        elif not ENV_NAME.match(name):
            found.append(cause("invalid", f"{field}[{place}].name", "a valid environment variable"
                               " name must consist of alphabetic characters, digits, '_', '-', or"
                               " '.'", name))
        if variable.get("value") and variable.get("valueFrom"):
            found.append(cause("invalid", f"{field}[{place}].valueFrom", "may not be specified"
                               " when `value` is not empty", ""))
    return found


def mount_causes(mounts, volumes, field):
    """The faults of a container's mounts."""
    found = []
    seen = set()
    for place, mount in enumerate(mounts):
        if mount.get("name") not in volumes:
            found.append({"reason": "FieldValueNotFound", "field": f"{field}[{place}].name",
                          "message": f'Not found: "{mount.get("name")}"'})
        path = mount.get("mountPath")
        if not path:
            found.append(cause("required", f"{field}[{place}].mountPath"))
        elif path in seen:
            found.append(cause("invalid", f"{field}[{place}].mountPath", "must be unique", path))
        seen.add(path)
    return found


def amount_causes(resources, field):
    """The faults of a container's requests and limits."""
    found = []
    amounts = {}
    for kind in ("requests", "limits"):
        for name, text in (resources.get(kind) or {}).items():
            amounts[kind, name] = quantity.parse(text)
            if amounts[kind, name] is None:
                found.append(cause("invalid", f"{field}.{kind}[{name}]", "quantities must match"
                                   " the regular expression", text))
    for (kind, name), amount in amounts.items():
        limit = amounts.get(("limits", name))
        if kind == "requests" and None not in (amount, limit) and amount > limit:
            text = resources["requests"][name]
            found.append(cause("invalid", f"{field}.requests", f"must be less than or equal to"
                               f" {name} limit of {resources['limits'][name]}", text))
    return found


def container_causes(containers, volumes, field, taken):
    """The faults of a list of containers; taken has the names seen before."""
    found = []
    for place, one in enumerate(containers):
        here = f"{field}[{place}]"
        name = one.get("name") or ""
        if not name:
            found.append(cause("required", here + ".name"))
        elif name in taken:
            found.append(cause("duplicate", here + ".name", "", name))
        else:
            found += names.label_causes(name, here + ".name")
        taken.add(name)
        if not one.get("image"):
            found.append(cause("required", here + ".image"))
        found += env_causes(one.get("env") or (), here + ".env")
        found += mount_causes(one.get("volumeMounts") or (), volumes, here + ".volumeMounts")
        found += amount_causes(one.get("resources") or {}, here + ".resources")
    return found


def volume_causes(volumes, field):
    """The faults of a pod's volumes."""
    found = []
    seen = set()
    for place, one in enumerate(volumes):
        name = one.get("name") or ""
        found += names.label_causes(name, f"{field}[{place}].name") if name else [
            cause("required", f"{field}[{place}].name")]
        if name in seen:
            found.append(cause("duplicate", f"{field}[{place}].name", "", name))
        seen.add(name)
        kinds = [kind for kind, value in one.items() if kind != "name" and value is not None]
        if len(kinds) > 1:
            found.append(cause("forbidden", f"{field}[{place}].{kinds[1]}",
                               "may not specify more than 1 volume type"))
    return found


def pod_spec(spec, field):
    """The faults of a pod's spec."""
    volumes = spec.get("volumes") or []
    known = {v.get("name") for v in volumes}
    taken = set()
    found = volume_causes(volumes, field + ".volumes")
    found += container_causes(spec.get("initContainers") or (), known, field + ".initContainers",
                              taken)
    if not spec.get("containers"):
        found.append(cause("required", field + ".containers"))
    found += container_causes(spec.get("containers") or (), known, field + ".containers", taken)
    if spec.get("restartPolicy") not in POLICIES:
        found.append(cause("unsupported", field + ".restartPolicy", supported(POLICIES),
                           spec.get("restartPolicy")))
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            found += names.label_causes(spec[name], f"{field}.{name}")
    return found


def pod(body):
    """The faults of a pod."""
    return pod_spec(body.get("spec") or {}, "spec")


def job(body):
    """The faults of a Job."""
    spec = body.get("spec") or {}
    template = (spec.get("template") or {}).get("spec") or {}
    found = []
    for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds",
                 "ttlSecondsAfterFinished"):
        if isinstance(spec.get(name), int) and spec[name] < 0:
            found.append(cause("invalid", f"spec.{name}", "must be greater than or equal to 0",
                               spec[name]))
    found += pod_spec(template, "spec.template.spec")
    if template.get("restartPolicy") == "Always":
        found.append(cause("unsupported", "spec.template.spec.restartPolicy",
                           supported(("OnFailure", "Never")), "Always"))
    if spec.get("podReplacementPolicy") not in (None, "Failed", "TerminatingOrFailed"):
        found.append(cause("unsupported", "spec.podReplacementPolicy",
                           supported(("Failed", "TerminatingOrFailed")),
                           spec["podReplacementPolicy"]))
    if spec.get("podFailurePolicy") and template.get("restartPolicy") != "Never":
        found.append(cause("invalid", "spec.template.spec.restartPolicy", 'only "Never" is'
                           " supported when podFailurePolicy is specified",
                           template.get("restartPolicy")))
    return found


def service(body):
    """The faults of a Service."""
    spec = body.get("spec") or {}
    ports = spec.get("ports") or []
    found = []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        found.append(cause("required", "spec.ports"))
    for place, port in enumerate(ports):
        number = port.get("port")
        if not isinstance(number, int) or not 0 < number < 65536:
            found.append(cause("invalid", f"spec.ports[{place}].port", "must be between 1 and"
                               " 65535, inclusive", number))
        if len(ports) > 1 and not port.get("name"):
            found.append(cause("required", f"spec.ports[{place}].name"))
    return found


def lease(body):
    """The faults of a Lease."""
    spec = body.get("spec") or {}
    found = []
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        found.append(cause("invalid", "spec.leaseDurationSeconds", "must be greater than 0",
                           seconds))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        found.append(cause("invalid", "spec.leaseTransitions", "must be greater than or equal to"
                           " 0", transitions))
    return found


def event(body, modern):
    """The faults of an event in its stored form; `modern` as events.k8s.io/v1 has them."""
    involved = body.get("involvedObject") or {}
    where = involved.get("namespace", "")
    here = body["metadata"].get("namespace", "")
    prefix = "regarding" if modern else "involvedObject"
    found = []
    if where != here and not (where == "" and here == "default"):
        found.append(cause("invalid", f"{prefix}.namespace", "does not match event.namespace",
                           where))
    if not modern:
        return found
    if not body.get("eventTime"):
        found.append(cause("required", "eventTime"))
    if body.get("type") not in ("Normal", "Warning"):
        found.append(cause("invalid", "type", "has invalid value: " + str(body.get("type")), ""))
    for field, stored, limit in (("reportingController", "reportingComponent", 0),
                                 ("reportingInstance", "reportingInstance", 128),
                                 ("action", "action", 128), ("reason", "reason", 128)):
        value = body.get(stored) or ""
        if not value:
            found.append(cause("required", field))
        elif limit and len(value) > limit:
            found.append(cause("invalid", field, f"can have at most {limit} characters", ""))
    if len((body.get("message") or "").encode()) > EVENT_LIMIT:
        found.append(cause("invalid", "note", f"can have at most {EVENT_LIMIT} characters", ""))
    series = body.get("series")
    if series is not None and not (series.get("count", 0) >= 2 and series.get("lastObservedTime")):
        found.append(cause("invalid", "series.count", "should be at least 2", ""))
    return found


def data(body):
    """The faults of a ConfigMap's or Secret's data."""
    found = []
    size = 0
    for part in ("data", "binaryData"):
        for key, value in (body.get(part) or {}).items():
            if not KEY.match(key) or key in (".", "..") or len(key) > 253:
                found.append(cause("invalid", f"{part}[{key}]", "a valid config key must consist"
                                   " of alphanumeric characters, '-', '_' or '.'", key))
            size += len(value.encode())
    if size > DATA_LIMIT:
        found.append(cause("too long", "", f"may not be more than {DATA_LIMIT} bytes"))
    return found


BY_KEY = {"pods": pod, "jobs.batch": job, "services": service, "leases.coordination.k8s.io": lease,
          "configmaps": data, "secrets": data}


def of_new(resource, body):
    """All faults of a new object."""
    found = names.of_metadata(resource, body["metadata"])
    return found + of_body(resource, body)


def of_body(resource, body):
    """The faults that an object has wherever it came from."""
    if resource.key == "events":
        return event(body, bool(resource.group))
    function = BY_KEY.get(resource.key)
    return function(body) if function else []
