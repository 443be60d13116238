#!/usr/bin/env python3
"""Pod Security's `restricted` level (and `baseline` under it) as a check over rendered objects,
since old API servers have no admission for it.

    restricted.py [--baseline] FILE...    YAML, several documents; - is standard input
    restricted.py --self-test             each rule is broken once and must be found

Prints one line for each violation: object, field, what is wrong.  Exit 1 when there is any.  Every
pod is looked at, also those inside of a template, and every kind of container in it.
"""
import argparse
import copy
import sys

import yaml

BASELINE_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t",
                 "container_engine_t"}
SECCOMP_TYPES = {"RuntimeDefault", "Localhost"}
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
VOLUME_KINDS = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
                "persistentVolumeClaim", "projected", "secret"}
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")


def dig(value, *path):
    """The value at a path of keys; None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def containers(spec):
    """Every container of a pod, with its path."""
    for kind in CONTAINERS:
        for index, container in enumerate(spec.get(kind) or []):
            yield f"spec.{kind}[{index}]", container


def contexts(spec):
    """Every security context, the pod's first, with its path."""
    yield "spec.securityContext", spec.get("securityContext") or {}
    for path, container in containers(spec):
        yield f"{path}.securityContext", container.get("securityContext") or {}


def host_namespaces(spec, _):
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"spec.{key}", "must not be true"


def host_process(spec, _):
    for path, context in contexts(spec):
        if dig(context, "windowsOptions", "hostProcess"):
            yield f"{path}.windowsOptions.hostProcess", "must not be true"


def privileged(spec, _):
    for path, context in contexts(spec):
        if context.get("privileged"):
            yield f"{path}.privileged", "must not be true"


def capabilities(spec, _):
    for path, context in contexts(spec):
        extra = set(dig(context, "capabilities", "add") or []) - BASELINE_CAPABILITIES
        if extra:
            yield f"{path}.capabilities.add", f"must not have {', '.join(sorted(extra))}"


def host_path(spec, _):
    for index, volume in enumerate(spec.get("volumes") or []):
        if "hostPath" in volume:
            yield f"spec.volumes[{index}].hostPath", "must not be used"


def host_ports(spec, _):
    for path, container in containers(spec):
        for index, port in enumerate(container.get("ports") or []):
            if port.get("hostPort"):
                yield f"{path}.ports[{index}].hostPort", "must not be set"


def probe_hosts(spec, _):
    for path, container in containers(spec):
        asked = [(name, container.get(name)) for name in PROBES]
        asked += [(f"lifecycle.{name}", dig(container, "lifecycle", name)) for name in HOOKS]
        for name, handler in asked:
            for way in ("httpGet", "tcpSocket"):
                if dig(handler, way, "host"):
                    yield f"{path}.{name}.{way}.host", "must not be set"


def apparmor(spec, annotations):
    for path, context in contexts(spec):
        if dig(context, "appArmorProfile", "type") == "Unconfined":
            yield f"{path}.appArmorProfile.type", "must not be Unconfined"
    for key, value in annotations.items():
        allowed = value in ("", "runtime/default") or str(value).startswith("localhost/")
        if key.startswith(APPARMOR) and not allowed:
            yield f"metadata.annotations[{key}]", "must be runtime/default or localhost/..."


def selinux(spec, _):
    for path, context in contexts(spec):
        options = context.get("seLinuxOptions") or {}
        if options.get("type") not in SELINUX_TYPES:
            yield f"{path}.seLinuxOptions.type", f"must not be {options['type']}"
        for key in ("user", "role"):
            if options.get(key):
                yield f"{path}.seLinuxOptions.{key}", "must not be set"


def proc_mount(spec, _):
    for path, context in contexts(spec):
        if context.get("procMount") not in (None, "", "Default"):
            yield f"{path}.procMount", "must be Default"


def seccomp_confined(spec, _):
    for path, context in contexts(spec):
        kind = dig(context, "seccompProfile", "type")
        if kind is not None and kind not in SECCOMP_TYPES:
            yield f"{path}.seccompProfile.type", f"must not be {kind}"


def sysctls(spec, _):
    for index, sysctl in enumerate(dig(spec, "securityContext", "sysctls") or []):
        if sysctl.get("name") not in SYSCTLS:
            yield f"spec.securityContext.sysctls[{index}]", f"must not be {sysctl.get('name')}"


BASELINE = (host_namespaces, host_process, privileged, capabilities, host_path, host_ports,
            probe_hosts, apparmor, selinux, proc_mount, seccomp_confined, sysctls)


def volume_kinds(spec, _):
    for index, volume in enumerate(spec.get("volumes") or []):
        kinds = set(volume) - {"name"}
        if kinds - VOLUME_KINDS:
            yield f"spec.volumes[{index}]", f"must not be {', '.join(sorted(kinds - VOLUME_KINDS))}"


def no_escalation(spec, _):
    for path, container in containers(spec):
        if dig(container, "securityContext", "allowPrivilegeEscalation") is not False:
            yield f"{path}.securityContext.allowPrivilegeEscalation", "must be false"


def non_root(spec, _):
    of_pod = dig(spec, "securityContext", "runAsNonRoot")
    if of_pod is False:
        yield "spec.securityContext.runAsNonRoot", "must not be false"
    for path, container in containers(spec):
        own = dig(container, "securityContext", "runAsNonRoot")
        if own is False or (own is None and of_pod is not True):
            yield f"{path}.securityContext.runAsNonRoot", "must be true, here or for the pod"


def root_user(spec, _):
    for path, context in contexts(spec):
        if context.get("runAsUser") == 0:
            yield f"{path}.runAsUser", "must not be 0"


def seccomp_given(spec, _):
    of_pod = dig(spec, "securityContext", "seccompProfile", "type")
    for path, container in containers(spec):
        own = dig(container, "securityContext", "seccompProfile", "type")
        if (own or of_pod) not in SECCOMP_TYPES:
            yield (f"{path}.securityContext.seccompProfile.type",
                   "must be RuntimeDefault or Localhost, here or for the pod")


def capabilities_dropped(spec, _):
    for path, container in containers(spec):
        given = dig(container, "securityContext", "capabilities") or {}
        if "ALL" not in (given.get("drop") or []):
            yield f"{path}.securityContext.capabilities.drop", "must have ALL"
        if set(given.get("add") or []) - {"NET_BIND_SERVICE"}:
            yield f"{path}.securityContext.capabilities.add", "only NET_BIND_SERVICE may be added"


RESTRICTED = (volume_kinds, no_escalation, non_root, root_user, seccomp_given,
              capabilities_dropped)


def violations(pod, baseline=False):
    """(field, what is wrong) of a pod or a pod template: an object with metadata and spec."""
    annotations = dig(pod, "metadata", "annotations") or {}
    found = []
    for rule in BASELINE if baseline else BASELINE + RESTRICTED:
        found += rule(pod.get("spec") or {}, annotations)
    return found


def pods_of(value, path=""):
    """Every pod in an object, also as a template, with its path."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from pods_of(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        if isinstance(dig(value, "spec", "containers"), list):
            yield path, value
        for key, item in value.items():
            yield from pods_of(item, f"{path}.{key}" if path else key)


def check_objects(objects, baseline, out=sys.stdout):
    """Prints the violations; returns how many pods and how many violations there were."""
    pods = bad = 0
    for item in objects:
        name = f"{dig(item, 'kind')}/{dig(item, 'metadata', 'name')}"
        for path, pod in pods_of(item):
            pods += 1
            for field, what in violations(pod, baseline):
                bad += 1
                print(f"{name}: {path + '.' if path else ''}{field} {what}", file=out)
    return pods, bad


GOOD = {
    "metadata": {"name": "good"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b"}],
        "initContainers": [{"name": "i", "securityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": False, "runAsUser": 1000,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}],
    },
}

# (level, path of the field that is changed, its value, field that must be named); None: removed.
POD, MAIN, INIT = ("spec",), ("spec", "containers", 0), ("spec", "initContainers", 0)
CONTEXT = MAIN + ("securityContext",)
BREAKS = (
    ("baseline", POD + ("hostNetwork",), True, "spec.hostNetwork"),
    ("baseline", POD + ("hostPID",), True, "spec.hostPID"),
    ("baseline", POD + ("hostIPC",), True, "spec.hostIPC"),
    ("baseline", POD + ("securityContext", "windowsOptions"), {"hostProcess": True}, "hostProcess"),
    ("baseline", CONTEXT + ("privileged",), True, "containers[0].securityContext.privileged"),
    ("baseline", INIT + ("securityContext", "privileged"), True, "initContainers[0]"),
    ("baseline", CONTEXT + ("capabilities", "add"), ["SYS_ADMIN"], "capabilities.add"),
    ("baseline", POD + ("volumes", 0), {"name": "a", "hostPath": {"path": "/"}}, "hostPath"),
    ("baseline", MAIN + ("ports",), [{"containerPort": 1, "hostPort": 1}], "ports[0].hostPort"),
    ("baseline", MAIN + ("livenessProbe",), {"httpGet": {"host": "x"}}, "livenessProbe.httpGet"),
    ("baseline", MAIN + ("lifecycle",), {"preStop": {"tcpSocket": {"host": "x"}}}, "preStop"),
    ("baseline", CONTEXT + ("appArmorProfile",), {"type": "Unconfined"}, "appArmorProfile"),
    ("baseline", ("metadata", "annotations"), {APPARMOR + "c": "unconfined"}, "annotations"),
    ("baseline", CONTEXT + ("seLinuxOptions",), {"type": "spc_t"}, "seLinuxOptions.type"),
    ("baseline", CONTEXT + ("seLinuxOptions",), {"user": "u"}, "seLinuxOptions.user"),
    ("baseline", CONTEXT + ("seLinuxOptions",), {"role": "r"}, "seLinuxOptions.role"),
    ("baseline", CONTEXT + ("procMount",), "Unmasked", "procMount"),
    ("baseline", CONTEXT + ("seccompProfile",), {"type": "Unconfined"}, "seccompProfile"),
    ("baseline", POD + ("securityContext", "sysctls"), [{"name": "kernel.msgmax"}], "sysctls[0]"),
    ("restricted", POD + ("volumes", 0), {"name": "a", "nfs": {}}, "spec.volumes[0]"),
    ("restricted", CONTEXT + ("allowPrivilegeEscalation",), None, "allowPrivilegeEscalation"),
    ("restricted", CONTEXT + ("allowPrivilegeEscalation",), True, "allowPrivilegeEscalation"),
    ("restricted", POD + ("securityContext", "runAsNonRoot"), None, "runAsNonRoot"),
    ("restricted", POD + ("securityContext", "runAsNonRoot"), False, "spec.securityContext.runAs"),
    ("restricted", CONTEXT + ("runAsNonRoot",), False, "spec.containers[0].securityContext.runAs"),
    ("restricted", CONTEXT + ("runAsUser",), 0, "runAsUser"),
    ("restricted", POD + ("securityContext", "runAsUser"), 0, "spec.securityContext.runAsUser"),
    ("restricted", POD + ("securityContext", "seccompProfile"), None, "seccompProfile"),
    ("restricted", CONTEXT + ("capabilities",), None, "capabilities.drop"),
    ("restricted", CONTEXT + ("capabilities", "drop"), ["NET_RAW"], "capabilities.drop"),
    ("restricted", CONTEXT + ("capabilities", "add"), ["CHOWN"], "capabilities.add"),
    ("restricted", POD + ("ephemeralContainers",), [{"name": "e"}], "ephemeralContainers[0]"),
)


def broken(path, value):
    """GOOD with one field changed."""
    pod = copy.deepcopy(GOOD)
    at = pod
    for key in path[:-1]:
        at = at[key] if isinstance(at, list) else at.setdefault(key, {})
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return pod


def self_test():
    """Whether every rule finds what breaks it, and nothing else."""
    wrong = []
    if violations(GOOD):
        wrong.append(f"a good pod: {violations(GOOD)}")
    for level, path, value, field in BREAKS:
        pod = broken(path, value)
        found = violations(pod)
        if not any(field in name for name, _ in found):
            wrong.append(f"{path} = {value}: not found, but {found}")
        if bool(violations(pod, baseline=True)) != (level == "baseline"):
            wrong.append(f"{path} = {value}: does not belong to {level}")
    used = {rule.__name__ for rule in BASELINE + RESTRICTED}
    silent = used - {rule.__name__ for _, path, value, _ in BREAKS
                     for rule in BASELINE + RESTRICTED
                     if list(rule(broken(path, value)["spec"],
                                  dig(broken(path, value), "metadata", "annotations") or {}))}
    if silent:
        wrong.append(f"never broken: {', '.join(sorted(silent))}")
    job = {"kind": "Job", "spec": {"template": broken(POD + ("hostPID",), True)}}
    if [path for path, pod in pods_of(job) if violations(pod)] != ["spec.template"]:
        wrong.append("a pod in a Job is not looked at")
    print("\n".join(wrong) if wrong else f"{len(BREAKS)} broken pods, each found")
    return 1 if wrong else 0


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--baseline", action="store_true", help="only the rules of baseline")
    parser.add_argument("--self-test", action="store_true", help="break each rule once")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    objects = []
    for name in options.files:
        with sys.stdin if name == "-" else open(name, encoding="utf-8") as stream:
            objects += [item for item in yaml.safe_load_all(stream) if item is not None]
    pods, bad = check_objects(objects, options.baseline)
    print(f"{pods} pods, {bad} violations", file=sys.stderr)
    return 1 if bad or pods == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
