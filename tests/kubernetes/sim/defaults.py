"""What the API server fills in where a new object leaves it out."""
import base64

UNREACHABLE = "node.kubernetes.io/unreachable"
NOT_READY = "node.kubernetes.io/not-ready"


def fill(target, **values):
    """Sets the fields that are absent or null."""
    for name, value in values.items():
        if target.get(name) is None:
            target[name] = value


def container(body):
    """Defaults of one container."""
    image = body.get("image", "")
    latest = image.endswith(":latest") or (":" not in image.rpartition("/")[2]
                                           and "@" not in image)
    fill(body, resources={}, terminationMessagePath="/dev/termination-log",
         terminationMessagePolicy="File", imagePullPolicy="Always" if latest else "IfNotPresent")
    for port in body.get("ports") or ():
        fill(port, protocol="TCP")
    resources = body["resources"] or {}
    if resources.get("limits"):
        requests = dict(resources["limits"])
        requests.update(resources.get("requests") or {})
        body["resources"] = {**resources, "requests": requests}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if body.get(probe):
            fill(body[probe], timeoutSeconds=1, periodSeconds=10, successThreshold=1,
                 failureThreshold=3)
    for variable in body.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            fill(reference, apiVersion="v1")


def volume(body):
    """Defaults of one volume."""
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if body.get(kind) is not None:
            fill(body[kind], defaultMode=0o644)
    if body.get("hostPath") is not None:
        fill(body["hostPath"], type="")
    if set(body) == {"name"}:
        body["emptyDir"] = {}


def pod_spec(spec):
    """Defaults of a pod's spec or a template's."""
    fill(spec, restartPolicy="Always", terminationGracePeriodSeconds=30, dnsPolicy="ClusterFirst",
         securityContext={}, schedulerName="default-scheduler")
    for one in (spec.get("initContainers") or []) + (spec.get("containers") or []):
        container(one)
    for one in spec.get("volumes") or ():
        volume(one)


def quality(spec):
    """The qosClass of a pod."""
    wanted = [c.get("resources") or {} for c in spec.get("containers") or ()]
    if not any(w.get("requests") or w.get("limits") for w in wanted):
        return "BestEffort"
    for one in wanted:
        limits = one.get("limits") or {}
        if set(limits) < {"cpu", "memory"} or (one.get("requests") or limits) != limits:
            return "Burstable"
    return "Guaranteed"


def pod(world, body):
    """A new pod: defaults, tolerations, the service account and its token's volume."""
    spec = body["spec"]
    pod_spec(spec)
    fill(spec, enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    tolerations = spec.setdefault("tolerations", []) or []
    for key in (NOT_READY, UNREACHABLE):
        if not any(t.get("key") in (key, None, "") and t.get("effect") in ("NoExecute", None, "")
                   for t in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute",
                                "tolerationSeconds": 300})
    spec["tolerations"] = tolerations
    if world.config.service_accounts:
        fill(spec, serviceAccountName=spec.get("serviceAccount") or "default")
        spec["serviceAccount"] = spec["serviceAccountName"]
        token_volume(world, body)
    body["status"] = {"phase": "Pending", "qosClass": quality(spec)}
    if spec.get("schedulingGates"):
        body["status"]["conditions"] = [{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": None, "lastTransitionTime": body["metadata"]["creationTimestamp"]}]


def token_volume(world, body):
    """Mounts the service account's token, as the admission plug-in does."""
    spec = body["spec"]
    account = world.store.get("serviceaccounts", body["metadata"]["namespace"],
                              spec["serviceAccountName"])
    automount = spec.get("automountServiceAccountToken")
    if automount is None and account:
        automount = account.body.get("automountServiceAccountToken")
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    containers = (spec.get("initContainers") or []) + (spec.get("containers") or [])
    if automount is False or not containers:
        return
    name = "kube-api-access-" + "".join(world.random.choice("bcdfghjkl") for _ in range(5))
    for one in containers:
        mounts = one.setdefault("volumeMounts", []) or []
        if not any(m.get("mountPath") == place for m in mounts):
            mounts.append({"name": name, "readOnly": True, "mountPath": place})
        one["volumeMounts"] = mounts
    spec["volumes"] = (spec.get("volumes") or []) + [{
        "name": name, "projected": {"defaultMode": 0o644, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt",
                           "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {
                "apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}]


def job(world, body):
    """A new Job: its numbers, its selector, and the labels of its pods."""
    spec = body["spec"]
    metadata = body["metadata"]
    fill(spec, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    if spec.get("parallelism") is None and spec.get("completions") is None:
        spec["parallelism"] = spec["completions"] = 1
    fill(spec, parallelism=1)
    if world.config.minor >= 28:
        fill(spec, podReplacementPolicy="TerminatingOrFailed" if not spec.get("podFailurePolicy")
             else "Failed")
    template = spec.setdefault("template", {})
    fill(template, metadata={}, spec={})
    pod_spec(template["spec"])
    if spec.get("manualSelector"):
        return
    uid = metadata["uid"]
    labels = dict(template["metadata"].get("labels") or {})
    key = "batch.kubernetes.io/controller-uid" if world.config.minor >= 27 else "controller-uid"
    if world.config.minor >= 27:
        labels.update({"batch.kubernetes.io/controller-uid": uid,
                       "batch.kubernetes.io/job-name": metadata["name"]})
    labels.update({"controller-uid": uid, "job-name": metadata["name"]})
    template["metadata"]["labels"] = labels
    spec["selector"] = {"matchLabels": {key: uid}}


def service(world, body):
    """A new Service: type, address, ports."""
    spec = body["spec"]
    fill(spec, type="ClusterIP", sessionAffinity="None")
    if world.config.minor >= 20:
        fill(spec, internalTrafficPolicy="Cluster", ipFamilyPolicy="SingleStack",
             ipFamilies=["IPv4"])
    for port in spec.get("ports") or ():
        fill(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] != "ExternalName" and not spec.get("clusterIP"):
        number = world.random.randrange(1, 65000)
        spec["clusterIP"] = f"10.96.{number >> 8}.{number & 255}"
    if spec.get("clusterIP"):
        fill(spec, clusterIPs=[spec["clusterIP"]])
    body.setdefault("status", {"loadBalancer": {}})


def secret(world, body):
    """A new Secret: type, and stringData moved to data."""
    del world
    fill(body, type="Opaque")
    plain = body.pop("stringData", None)
    if plain:
        data = dict(body.get("data") or {})
        data.update({k: base64.b64encode(v.encode()).decode() for k, v in plain.items()})
        body["data"] = data


def namespace(world, body):
    """A new Namespace is active, and is labelled with its name."""
    del world
    labels = body["metadata"].setdefault("labels", {})
    labels.setdefault("kubernetes.io/metadata.name", body["metadata"]["name"])
    body["spec"] = {"finalizers": ["kubernetes"]}
    body["status"] = {"phase": "Active"}


def claim(world, body):
    """A new PersistentVolumeClaim; the simulation binds it at once."""
    del world
    fill(body["spec"], volumeMode="Filesystem", volumeName="pvc-" + body["metadata"]["uid"])
    body["status"] = {"phase": "Bound", "accessModes": body["spec"].get("accessModes"),
                      "capacity": (body["spec"].get("resources") or {}).get("requests")}


def quota(world, body):
    """A new ResourceQuota shows its limits."""
    del world
    body["status"] = {"hard": (body.get("spec") or {}).get("hard") or {}, "used": {}}


BY_KEY = {
    "pods": pod,
    "jobs.batch": job,
    "services": service,
    "secrets": secret,
    "namespaces": namespace,
    "persistentvolumeclaims": claim,
    "resourcequotas": quota,
}
NEED_SPEC = {"pods", "jobs.batch", "services", "persistentvolumeclaims"}


def apply(world, resource, body):
    """Fills in a new object of any resource."""
    function = BY_KEY.get(resource.key)
    if function is None:
        return
    if resource.key in NEED_SPEC:
        fill(body, spec={})
    function(world, body)
