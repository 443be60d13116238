"""Which resources the server has: names, groups, subresources, and the discovery documents."""
import dataclasses

from . import rules

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclasses.dataclass(frozen=True)
class Resource:
    """One resource of one version of an API group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple = ()
    subresources: tuple = ()
    custom: bool = False
    generation: bool = False
    storage: str = ""  # resources with the same storage are views of the same objects
    scale: tuple = ()  # for a scale subresource: path of spec and of status replicas, of selector
    schema: object = dataclasses.field(default=None, compare=False, hash=False)
    rules: object = dataclasses.field(default=None, compare=False, hash=False)

    @property
    def qualified(self):
        """The name in messages: leases.coordination.k8s.io"""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self):
        """The value of apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self):
        """The name under which the store keeps the objects."""
        return self.storage or self.qualified

    @property
    def has_status(self):
        """True where the status is a subresource, so that plain writes leave it alone."""
        return "status" in self.subresources

    def listing(self):
        """This resource, and its subresources, in a discovery document."""
        entry = {"name": self.plural, "singularName": self.kind.lower(), "kind": self.kind,
                 "namespaced": self.namespaced, "verbs": VERBS}
        if self.short:
            entry["shortNames"] = list(self.short)
        yield entry
        for name in self.subresources:
            sub = {"name": f"{self.plural}/{name}", "singularName": "", "kind": self.kind,
                   "namespaced": self.namespaced, "verbs": ["get", "patch", "update"]}
            sub.update(SUBRESOURCE_KINDS.get(name, {}))
            yield sub


SUBRESOURCE_KINDS = {
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    "eviction": {"group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]},
    "binding": {"kind": "Binding", "verbs": ["create"]},
    "log": {"verbs": ["get"]},
    "token": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest",
              "verbs": ["create"]},
}
MPIJOB_SCALE = (".spec.mpiReplicaSpecs.Worker.replicas",
                ".status.replicaStatuses.Worker.active", "")
STATUS = ("status",)
RBAC = "rbac.authorization.k8s.io"
MPIJOB = Resource("kubeflow.org", "v2beta1", "mpijobs", "MPIJob", True, (), ("status", "scale"),
                  True, True, scale=MPIJOB_SCALE)
BUILT_IN = (
    Resource("", "v1", "pods", "Pod", True, ("po",),
             ("status", "log", "eviction", "binding", "ephemeralcontainers")),
    Resource("", "v1", "services", "Service", True, ("svc",), STATUS),
    Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "events", "Event", True, ("ev",), storage="events"),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), ("token",)),
    Resource("", "v1", "nodes", "Node", False, ("no",), STATUS),
    Resource("", "v1", "namespaces", "Namespace", False, ("ns",), ("status", "finalize")),
    Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), STATUS),
    Resource("", "v1", "persistentvolumes", "PersistentVolume", False, ("pv",), STATUS),
    Resource("", "v1", "resourcequotas", "ResourceQuota", True, ("quota",), STATUS),
    Resource("", "v1", "limitranges", "LimitRange", True, ("limits",)),
    Resource("batch", "v1", "jobs", "Job", True, (), STATUS, generation=True),
    Resource("apps", "v1", "deployments", "Deployment", True, ("deploy",), ("status", "scale"),
             generation=True, scale=(".spec.replicas", ".status.replicas", "")),
    Resource("coordination.k8s.io", "v1", "leases", "Lease"),
    Resource("events.k8s.io", "v1", "events", "Event", True, ("ev",), storage="events"),
    Resource(RBAC, "v1", "roles", "Role"),
    Resource(RBAC, "v1", "rolebindings", "RoleBinding"),
    Resource(RBAC, "v1", "clusterroles", "ClusterRole", False),
    Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, ("pdb",), STATUS,
             generation=True),
    Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, ("pc",)),
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions",
             "CustomResourceDefinition", False, ("crd", "crds"), STATUS, generation=True),
)
COUNT = {"type": "integer", "format": "int32"}
RESOURCES = {"type": "object", "additionalProperties": {
    "anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True,
    "pattern": r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[mkMGTPE]|[eE][+-]?[0-9]+)?$"}}


def pod_group(group, version, subresources, **more):
    """The PodGroup of a gang scheduler: the fields that both have, and more of its own."""
    spec = {"type": "object", "properties": {
        "minMember": COUNT, "minResources": RESOURCES, **more}}
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    return Resource(group, version, "podgroups", "PodGroup", True, ("pg",), subresources, True,
                    True, schema=schema)


POD_GROUPS = (
    pod_group("scheduling.volcano.sh", "v1beta1", (), queue={"type": "string"},
              priorityClassName={"type": "string"},
              minTaskMember={"type": "object", "additionalProperties": COUNT}),
    pod_group("scheduling.x-k8s.io", "v1alpha1", STATUS, scheduleTimeoutSeconds=COUNT),
)
REVIEWS = {
    ("authorization.k8s.io", "v1"): (("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
                                     ("selfsubjectrulesreviews", "SelfSubjectRulesReview")),
}


def subresources_of(version):
    """Subresource names and scale paths of one version in a CustomResourceDefinition."""
    given = version.get("subresources") or {}
    names = tuple(name for name in ("status", "scale") if name in given)
    scale = given.get("scale")
    paths = ()
    if scale:
        paths = (scale["specReplicasPath"], scale["statusReplicasPath"],
                 scale.get("labelSelectorPath", ""))
    return names, paths


def from_definition(definition, minor):
    """The resources that a CustomResourceDefinition adds to a server, one for each served version.
    """
    spec = definition["spec"]
    names = spec["names"]
    for version in spec.get("versions", ()):
        if not version.get("served", True):
            continue
        subresources, scale = subresources_of(version)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        yield Resource(
            spec["group"], version["name"], names["plural"], names["kind"],
            spec.get("scope", "Namespaced") == "Namespaced", tuple(names.get("shortNames", ())),
            subresources, True, True, scale=scale, schema=schema,
            rules=rules.compiled_schema(schema, minor))


class Registry:
    """The resources that are served now."""

    def __init__(self, with_mpijob=True, with_pod_groups=True):
        self.served = {}
        for resource in BUILT_IN:
            self.add(resource)
        for resource in POD_GROUPS if with_pod_groups else ():
            self.add(resource)
        if with_mpijob:
            self.add(MPIJOB)

    def add(self, resource):
        """Serves a resource, in place of one with the same path."""
        self.served[(resource.group, resource.version, resource.plural)] = resource

    def drop(self, group, plural):
        """Serves no version of a custom resource any more."""
        for path in [p for p in self.served if p[0] == group and p[2] == plural]:
            del self.served[path]

    def find(self, group, version, plural):
        """The resource of a path, or None."""
        return self.served.get((group, version, plural))

    def of_kind(self, api_version, kind):
        """The resource of an object's apiVersion and kind, or None."""
        for resource in self.served.values():
            if resource.kind == kind and resource.api_version == api_version:
                return resource
        return None

    def core(self, plural):
        """A resource of the core group."""
        return self.served[("", "v1", plural)]

    def stored(self):
        """One resource for each storage, in a fixed order."""
        seen = {}
        for resource in self.served.values():
            seen.setdefault(resource.key, resource)
        return list(seen.values())

    def groups(self):
        """{group: [versions]} of the named groups."""
        groups = {}
        for group, version, _ in list(self.served) + [(*key, "") for key in REVIEWS]:
            if group and version not in groups.setdefault(group, []):
                groups[group].append(version)
        return groups

    def document(self, parts):
        """The discovery document of a path's parts, or None where there is none."""
        if parts == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if parts == ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1",
                    "groups": [group_entry(g, v) for g, v in self.groups().items()]}
        if len(parts) == 2 and parts[0] == "apis" and parts[1] in self.groups():
            group = group_entry(parts[1], self.groups()[parts[1]])
            return {"kind": "APIGroup", "apiVersion": "v1", **group}
        if parts == ["api", "v1"]:
            return self.resource_list("", "v1")
        if len(parts) == 3 and parts[0] == "apis" and parts[2] in self.groups().get(parts[1], ()):
            return self.resource_list(parts[1], parts[2])
        return None

    def resource_list(self, group, version):
        """The APIResourceList of a group and version."""
        found = [entry for resource in self.served.values()
                 if (resource.group, resource.version) == (group, version)
                 for entry in resource.listing()]
        for plural, kind in REVIEWS.get((group, version), ()):
            found.append({"name": plural, "singularName": kind.lower(), "kind": kind,
                          "namespaced": False, "verbs": ["create"]})
        name = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name,
                "resources": found}


def group_entry(group, versions):
    """A group in the APIGroupList."""
    entries = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}
