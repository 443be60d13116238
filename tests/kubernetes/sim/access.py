"""Who asks, and what he may do: tokens, client certificates, rules, Role objects."""
import secrets

from . import errors

MASTERS = "system:masters"
GROUP = "rbac.authorization.k8s.io"


class User:
    """A name, its groups, and the rules that its token came with (None: those of the roles)."""

    def __init__(self, name, groups=(), rules=None):
        self.name = name
        self.groups = tuple(groups)
        self.rules = rules


ADMIN = User("kubernetes-admin", (MASTERS,))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def rule_allows(rule, attributes):
    """True when a PolicyRule covers (verb, group, resource/subresource, name)."""
    verb, group, resource, name = attributes

    def has(values, value):
        return "*" in values or value in values

    resources = rule.get("resources", ())
    sub = resource.partition("/")[2]
    known = has(resources, resource) or (sub and f"*/{sub}" in resources)
    names = rule.get("resourceNames")
    return (has(rule.get("verbs", ()), verb) and has(rule.get("apiGroups", ("",)), group)
            and known and (not names or name in names))


class Access:
    """The tokens that are valid now.

    Until a test gives one, the server is open: whoever has no token of a service account is the
    administrator.
    """

    def __init__(self, world):
        self.world = world
        self.tokens = {}
        self.open = True

    def give_token(self, token, user="kubernetes-admin", groups=None, rules=None):
        """Makes a token valid, as tests do: the server is open no longer."""
        self.open = False
        self.set_token(token, user, groups, rules)

    def set_token(self, token, user, groups=None, rules=None):
        """Makes a token valid; without groups and rules it is an administrator's."""
        if groups is None:
            groups = groups_of(user) if user.startswith("system:serviceaccount:") else ()
            if not groups and rules is None:
                groups = (MASTERS,)
        self.tokens[token] = User(user, groups, rules)

    def drop_token(self, token):
        """Makes a token invalid."""
        self.tokens.pop(token, None)

    def account_token(self, namespace, name):
        """A new token of a service account."""
        token = f"sa.{namespace}.{name}.{secrets.token_hex(12)}"
        self.set_token(token, f"system:serviceaccount:{namespace}:{name}")
        return token

    def user_of(self, request):
        """Who sent a request; raises 401 for credentials that are not valid."""
        given = request.headers.get("authorization", "")
        if given:
            user = self.tokens.get(given.removeprefix("Bearer ").strip())
            if user is None and not self.open:
                raise errors.ApiError(401, "Unauthorized", "Unauthorized")
            return user or ADMIN
        if request.certificate:
            return certificate_user(request.certificate)
        return ADMIN if self.open else ANONYMOUS

    def allows(self, user, namespace, attributes):
        """True when a user may do (verb, group, resource, name) in a namespace ("" for all)."""
        if MASTERS in user.groups:
            return True
        if user.rules is not None:
            return any(rule_allows(r, attributes) and r.get("namespace", namespace) == namespace
                       for r in user.rules)
        if not self.world.config.rbac:
            return user is not ANONYMOUS
        return any(rule_allows(r, attributes) for r in self.rules_for(user, namespace))

    def rules_for(self, user, namespace):
        """The rules that bindings in the store give to a user in a namespace."""
        for plural in ("clusterrolebindings", "rolebindings"):
            inside = None if plural == "clusterrolebindings" else namespace
            if plural == "rolebindings" and not namespace:
                continue
            for item in self.world.store.items(f"{plural}.{GROUP}", inside):
                if any(subject_is(s, user, namespace) for s in item.body.get("subjects", ())):
                    yield from self.rules_of(item.body["roleRef"], namespace)

    def rules_of(self, reference, namespace):
        """The rules of the role that a binding names."""
        cluster = reference["kind"] == "ClusterRole"
        key = f"{'clusterroles' if cluster else 'roles'}.{GROUP}"
        item = self.world.store.get(key, "" if cluster else namespace, reference["name"])
        return item.body.get("rules") or () if item else ()

    def require(self, user, target):
        """Raises 403, in the words of a real server, unless the target is allowed."""
        resource = target.resource
        what = resource.plural + (f"/{target.subresource}" if target.subresource else "")
        attributes = (target.verb, resource.group, what, target.meant)
        namespace = target.namespace if resource.namespaced else ""
        if resource.key == "namespaces" and target.name:
            namespace = target.name
        if self.allows(user, namespace, attributes):
            return
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        why = (f'User "{user.name}" cannot {target.verb} resource "{what}" in API group'
               f' "{resource.group}" {where}')
        raise errors.forbidden(resource, target.meant, why)


def groups_of(user):
    """The groups of a service account's user name."""
    namespace = user.split(":")[2]
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}",
            "system:authenticated")


def certificate_user(certificate):
    """The user of a client certificate: CN is the name, O the groups."""
    fields = [pair for part in certificate.get("subject", ()) for pair in part]
    name = next((v for k, v in fields if k == "commonName"), "")
    groups = [v for k, v in fields if k == "organizationName"]
    return User(name, (*groups, "system:authenticated"))


def subject_is(subject, user, namespace):
    """True when a binding's subject is a user."""
    if subject["kind"] == "ServiceAccount":
        where = subject.get("namespace", namespace)
        return user.name == f"system:serviceaccount:{where}:{subject['name']}"
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    return subject["name"] == user.name
