"""Types inside bodies: a value of the wrong JSON type is 400 before any rule is asked."""
import re

from . import errors

MICRO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
SECONDS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")

STRINGS = {"labels", "annotations", "nodeSelector", "matchLabels", "stringData"}
WORDS = {"command", "args", "finalizers"}
NUMBERS = {"replicas", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished",
           "parallelism", "completions", "terminationGracePeriodSeconds", "leaseDurationSeconds",
           "slotsPerWorker", "containerPort", "leaseTransitions", "generation"}
TRUTHS = {"suspend", "hostNetwork", "controller", "blockOwnerDeletion", "readOnly",
          "publishNotReadyAddresses", "automountServiceAccountToken", "immutable",
          "runLauncherAsWorker"}
TIMES = {"creationTimestamp", "deletionTimestamp", "startTime", "completionTime",
         "lastTransitionTime", "lastUpdateTime", "lastProbeTime", "firstTimestamp",
         "lastTimestamp"}
MICRO_TIMES = {"acquireTime", "renewTime", "eventTime", "lastObservedTime"}
KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array",
         dict: "object", type(None): "null"}


class Wrong(Exception):
    """A value of the wrong type, told as the decoder of the server tells it."""


def want(value, kind, path, go_type):
    """Raises unless a value is null or of a type; bool is no number."""
    if value is None or (isinstance(value, kind) and not (kind is int and value in (True, False)
                                                          and isinstance(value, bool))):
        return
    raise Wrong(f"json: cannot unmarshal {KINDS[type(value)]} into Go struct field"
                f" {path.lstrip('.')} of type {go_type}")


def check_time(value, name, path):
    """Raises unless a time has the form that its field takes."""
    want(value, str, path, "v1.Time")
    if name in MICRO_TIMES and not MICRO.match(value):
        raise Wrong(f'parsing time "{value}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse'
                    f' "{value[19:]}" as ".000000"')
    if name in TIMES and not SECONDS.match(value):
        raise Wrong(f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse'
                    f' "{value}" as "2006"')


def check_member(name, value, path):
    """Raises when a named field has a value that its type does not take."""
    if value is None:
        return
    if name in STRINGS:
        want(value, dict, path, "map[string]string")
        for key, text in value.items():
            want(text, str, f"{path}.{key}", "string")
    elif name in WORDS:
        want(value, list, path, "[]string")
        for word in value:
            want(word, str, path, "string")
    elif name in NUMBERS:
        want(value, int, path, "int32")
    elif name in TRUTHS:
        want(value, bool, path, "bool")
    elif name in TIMES or name in MICRO_TIMES:
        check_time(value, name, path)


def walk(value, path):
    """Checks a body's fields, all the way down."""
    if isinstance(value, list):
        for element in value:
            if isinstance(element, (dict, list)):
                walk(element, path)
        return
    for name, member in value.items():
        inner = f"{path}.{name}"
        check_member(name, member, inner)
        if name == "env" and isinstance(member, list):
            for entry in member:
                if isinstance(entry, dict):
                    want(entry.get("value"), str, inner + ".value", "string")
        if isinstance(member, (dict, list)) and name not in STRINGS and name != "data":
            walk(member, inner)


def check(resource, body):
    """400 for a built-in object with a value of the wrong type."""
    if resource.custom or resource.group == "apiextensions.k8s.io":
        return
    try:
        walk(body, resource.kind)
        if resource.plural in ("configmaps", "secrets"):
            data = body.get("data")
            want(data, dict, f"{resource.kind}.data", "map[string]string")
            for name, text in (data or {}).items():
                want(text, str, f"{resource.kind}.data.{name}", "string")
    except Wrong as error:
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a'
            f' {resource.kind}: {error}') from None
