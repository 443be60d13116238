"""Admission: service accounts, priority classes, and quotas; 403 for what does not fit."""
from . import errors, quantity

FINISHED = ("Succeeded", "Failed")
COUNTED = {"configmaps", "secrets", "services", "persistentvolumeclaims"}


def used_by_pod(spec):
    """{quota name: amount} of one pod."""
    used = {"pods": 1, "count/pods": 1}
    for name, amount in quantity.requests_of(spec).items():
        used[f"requests.{name}"] = used[name] = amount
    for name, amount in quantity.limits_of(spec).items():
        used[f"limits.{name}"] = amount
    return used


def used_by(resource, body):
    """{quota name: amount} of one object."""
    if resource.key == "pods":
        return used_by_pod(body["spec"])
    used = {f"count/{resource.qualified}": 1}
    if resource.key in COUNTED:
        used[resource.plural] = 1
    return used


def totals(world, resource, namespace):
    """{quota name: amount} of all objects of a resource in a namespace."""
    total = {}
    for item in world.store.items(resource.key, namespace):
        phase = (item.body.get("status") or {}).get("phase")
        if resource.key == "pods" and phase in FINISHED:
            continue
        for name, amount in used_by(resource, item.body).items():
            total[name] = total.get(name, 0) + amount
    return total


def admit_account(world, resource, body):
    """Refuses a pod whose service account is not there."""
    if resource.key != "pods" or not world.config.service_accounts:
        return
    metadata = body["metadata"]
    name = body["spec"]["serviceAccountName"]
    if world.store.get("serviceaccounts", metadata["namespace"], name) is None:
        raise errors.forbidden(resource, metadata["name"], "error looking up service account"
                               f' {metadata["namespace"]}/{name}: serviceaccount "{name}" not'
                               " found")


def admit_priority(world, resource, body):
    """Gives a pod the number of its priority class; refuses a class that is not there."""
    name = body["spec"].get("priorityClassName") if resource.key == "pods" else None
    if not name or name.startswith("system-"):
        return
    item = world.store.get("priorityclasses.scheduling.k8s.io", "", name)
    if item is None:
        raise errors.forbidden(resource, body["metadata"]["name"],
                               f"no PriorityClass with name {name} was found")
    body["spec"]["priority"] = item.body.get("value", 0)


def admit(world, resource, body):
    """Refuses a new object that a quota of its namespace has no room for."""
    admit_account(world, resource, body)
    admit_priority(world, resource, body)
    namespace = body["metadata"].get("namespace")
    limits = world.store.items("resourcequotas", namespace) if namespace else ()
    if not limits:
        return
    wanted = used_by(resource, body)
    total = totals(world, resource, namespace)
    for item in limits:
        hard = (item.body.get("spec") or {}).get("hard") or {}
        over = [name for name in sorted(hard)
                if name in wanted
                and total.get(name, 0) + wanted[name] > (quantity.parse(hard[name]) or 0)]
        if over:
            def part(values, names=over):
                return ",".join(f"{n}={values[n]}" for n in names)

            shown = {n: quantity.show(wanted[n]) for n in over}
            have = {n: quantity.show(total.get(n, 0)) for n in over}
            raise errors.forbidden(resource, body["metadata"]["name"], "exceeded quota:"
                                   f" {item.body['metadata']['name']}, requested: {part(shown)},"
                                   f" used: {part(have)}, limited: {part(hard)}")
