"""What every object must keep: names, labels, annotations, owner references."""
import re

from .errors import cause

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_1123_LABEL = re.compile(rf"^{LABEL}$")
DNS_1123_NAME = re.compile(rf"^{LABEL}(\.{LABEL})*$")
DNS_1035_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
ANNOTATION_LIMIT = 262144
LETTERS = "bcdfghjklmnpqrstvwxz2456789"

NAME_TEXT = ("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters,"
             " '-' or '.', and must start and end with an alphanumeric character (e.g."
             " 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\."
             "[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")
LABEL_TEXT = ("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or"
              " '-', and must start and end with an alphanumeric character (e.g. 'my-name', or"
              " '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')")
SERVICE_TEXT = ("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start"
                " with an alphabetic character, and end with an alphanumeric character (e.g."
                " 'my-name', or 'abc-123', regex used for validation is"
                " '[a-z]([-a-z0-9]*[a-z0-9])?')")
RULES = {
    "services": (DNS_1035_LABEL, 63, SERVICE_TEXT),
    "namespaces": (DNS_1123_LABEL, 63, LABEL_TEXT),
}
ANY_NAME = "rbac.authorization.k8s.io"  # role names may be any path segment


def text_causes(value, field, rule):
    """The faults of a name under (pattern, length, text)."""
    pattern, length, text = rule
    found = []
    if len(value) > length:
        found.append(cause("invalid", field, f"must be no more than {length} characters", value))
    if not pattern.match(value):
        found.append(cause("invalid", field, text, value))
    return found


def label_causes(value, field):
    """The faults of a DNS label."""
    return text_causes(value, field, (DNS_1123_LABEL, 63, LABEL_TEXT))


def of_object(resource, name):
    """The faults of an object's name."""
    if not name:
        return [cause("required", "metadata.name", "name or generateName is required")]
    if resource.group == ANY_NAME:
        bad = name in (".", "..") or "/" in name or "%" in name
        return [cause("invalid", "metadata.name", "may not contain '/'", name)] if bad else []
    rule = RULES.get(resource.qualified, (DNS_1123_NAME, 253, NAME_TEXT))
    return text_causes(name, "metadata.name", rule)


def key_causes(key, field):
    """The faults of a label's or annotation's key."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (DNS_1123_NAME.match(prefix) and len(prefix) <= 253):
        return [cause("invalid", field, "prefix part " + NAME_TEXT, key)]
    if not name or len(name) > 63 or not QUALIFIED.match(name):
        return [cause("invalid", field, "name part must consist of alphanumeric characters, '-',"
                      " '_' or '.', and must start and end with an alphanumeric character", key)]
    return []


def labels_causes(labels, field):
    """The faults of a map of labels."""
    found = []
    for key, value in labels.items():
        found += key_causes(key, field)
        if len(value) > 63:
            found.append(cause("invalid", field, "must be no more than 63 characters", value))
        elif not VALUE.match(value):
            found.append(cause("invalid", field, "a valid label must be an empty string or consist"
                               " of alphanumeric characters, '-', '_' or '.', and must start and"
                               " end with an alphanumeric character", value))
    return found


def annotation_causes(annotations):
    """The faults of a map of annotations."""
    found = []
    for key in annotations:
        found += key_causes(key.lower(), "metadata.annotations")
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > ANNOTATION_LIMIT:
        found.append(cause("too long", "metadata.annotations", f"may not be more than"
                           f" {ANNOTATION_LIMIT} bytes"))
    return found


def owner_causes(owners):
    """The faults of a list of owner references."""
    found = []
    for place, owner in enumerate(owners):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                field = f"metadata.ownerReferences[{place}].{name}"
                found.append(cause("invalid", field, "must not be empty", ""))
    if len([o for o in owners if o.get("controller")]) > 1:
        found.append(cause("invalid", "metadata.ownerReferences", "Only one reference can have"
                           " Controller set to true", None))
    return found


def of_metadata(resource, metadata):
    """All faults of an object's metadata."""
    found = of_object(resource, metadata.get("name"))
    found += labels_causes(metadata.get("labels") or {}, "metadata.labels")
    found += annotation_causes(metadata.get("annotations") or {})
    return found + owner_causes(metadata.get("ownerReferences") or ())


def generate(random, base, taken):
    """A free name from generateName, or None when eight tries found none."""
    for _ in range(8):
        name = base[:58] + "".join(random.choice(LETTERS) for _ in range(5))
        if not taken(name):
            return name
    return None
