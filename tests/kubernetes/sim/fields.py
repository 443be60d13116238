"""What a container is told about its pod: the downward API, and its environment."""
import base64
import re

from . import quantity

REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")
KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


class Missing(Exception):
    """Something that a pod needs is not there yet."""


def field(body, path):
    """The value of a fieldRef's path."""
    keyed = KEYED.match(path)
    if keyed:
        return (body["metadata"].get(keyed.group(1)) or {}).get(keyed.group(2), "")
    if path in ("metadata.labels", "metadata.annotations"):
        values = body["metadata"].get(path.split(".")[1]) or {}
        return "\n".join(f'{k}="{v}"' for k, v in sorted(values.items()))
    if path == "status.podIPs":
        return ",".join(entry["ip"] for entry in body["status"].get("podIPs", ()))
    if path == "status.hostIPs":
        return body["status"].get("hostIP", "")
    value = body
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, dict) else ""
    return str(value)


def resource_field(body, container, reference):
    """The value of a resourceFieldRef."""
    name = reference.get("containerName")
    one = container if name is None else next(
        c for c in body["spec"]["containers"] if c["name"] == name)
    kind, _, what = reference["resource"].partition(".")
    amount = quantity.parse(((one.get("resources") or {}).get(kind) or {}).get(what, "0"))
    divisor = quantity.parse(reference.get("divisor") or "1") or 1
    whole = int(-(-amount // divisor))
    return str(whole)


def data_of(world, kind, namespace, name, optional):
    """{key: bytes} of a ConfigMap ("configmaps") or Secret, None where it may be absent and is."""
    item = world.store.get(kind, namespace, name)
    if item is None:
        if optional:
            return None
        raise Missing(f'{kind[:-1]} "{name}" not found')
    body = item.body
    if kind == "secrets":
        return {k: base64.b64decode(v) for k, v in (body.get("data") or {}).items()}
    found = {k: v.encode() for k, v in (body.get("data") or {}).items()}
    found.update({k: base64.b64decode(v) for k, v in (body.get("binaryData") or {}).items()})
    return found


def from_source(world, body, container, source):
    """The value of an environment entry's valueFrom, or None for an optional one."""
    if "fieldRef" in source:
        return field(body, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_field(body, container, source["resourceFieldRef"])
    for name, kind in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if name in source:
            given = source[name]
            data = data_of(world, kind, body["metadata"]["namespace"], given["name"],
                           given.get("optional"))
            if data is None or given["key"] not in data:
                if given.get("optional"):
                    return None
                raise Missing(f"couldn't find key {given['key']} in {kind} {given['name']}")
            return data[given["key"]].decode()
    return None


def expand(text, known):
    """$(NAME) replaced by what is known; $$ is a dollar."""
    def replace(match):
        if match.group(1) == "$":
            return "$"
        return known.get(match.group(2), match.group(0))

    return REFERENCE.sub(replace, text)


def environment(world, body, container, base):
    """{name: value} of a container."""
    known = dict(base)
    for source in container.get("envFrom") or ():
        for name, kind in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if name in source:
                data = data_of(world, kind, body["metadata"]["namespace"], source[name]["name"],
                               source[name].get("optional")) or {}
                prefix = source.get("prefix", "")
                known.update({prefix + k: v.decode() for k, v in data.items()})
    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            value = from_source(world, body, container, variable["valueFrom"])
            if value is not None:
                known[variable["name"]] = value
        else:
            known[variable["name"]] = expand(variable.get("value") or "", known)
    return known
