"""Label and field selectors of list, watch and deletecollection."""
import re

from . import errors

NAME = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
SET = re.compile(rf"^({NAME})\s+(in|notin)\s*\(([^()]*)\)$")
EQUAL = re.compile(rf"^({NAME})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)$")
EXISTS = re.compile(rf"^(!?)\s*({NAME})$")


def split(text):
    """The requirements of a selector: commas inside parentheses separate values."""
    depth, start = 0, 0
    for place, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def label_test(requirement):
    """The function of labels that one requirement stands for."""
    match = SET.match(requirement)
    if match:
        key, word, values = match.groups()
        chosen = {value.strip() for value in values.split(",")}
        if word == "in":
            return lambda labels: labels.get(key) in chosen
        return lambda labels: labels.get(key) not in chosen
    match = EQUAL.match(requirement)
    if match:
        key, sign, value = match.groups()
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    match = EXISTS.match(requirement)
    if match:
        absent, key = match.groups()
        return lambda labels: (key in labels) != bool(absent)
    raise errors.bad_request(f"unable to parse requirement: {requirement!r}")


FIELDS = {
    "pods": ("metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy",
             "spec.schedulerName", "spec.serviceAccountName", "status.phase", "status.podIP",
             "status.nominatedNodeName"),
    "events": ("metadata.name", "metadata.namespace", "involvedObject.kind",
               "involvedObject.name", "involvedObject.namespace", "involvedObject.uid", "reason",
               "type", "source", "reportingComponent"),
    "jobs.batch": ("metadata.name", "metadata.namespace", "status.successful"),
    "secrets": ("metadata.name", "metadata.namespace", "type"),
    "nodes": ("metadata.name", "spec.unschedulable"),
    "namespaces": ("metadata.name", "status.phase"),
}
COMMON_FIELDS = ("metadata.name", "metadata.namespace")


def field_test(resource, requirement):
    """The function of a body that one field requirement stands for."""
    match = re.match(r"^([A-Za-z.]+)\s*(==|=|!=)\s*(.*)$", requirement)
    if not match:
        raise errors.bad_request(f"invalid selector: '{requirement}'; can't understand"
                                 f" '{requirement}'")
    path, sign, wanted = match.groups()
    if path not in FIELDS.get(resource.key, COMMON_FIELDS):
        raise errors.bad_request(
            f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label'
            f' selector "", field selector "{requirement}": field label not supported: {path}')
    steps = path.split(".")

    def test(body):
        value = body
        for step in steps:
            value = value.get(step, "") if isinstance(value, dict) else ""
        return (text_of(value) == wanted) == (sign != "!=")

    return test


def text_of(value):
    """A field as a selector writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


class Selector:
    """Both selectors of a request; `accepts(body)` is true for what it asks for."""

    def __init__(self, resource, query):
        labels = query.get("labelSelector", "")
        fields = query.get("fieldSelector", "")
        self.labels = [label_test(part) for part in split(labels) if part]
        self.fields = [field_test(resource, part) for part in split(fields) if part]

    def __bool__(self):
        return bool(self.labels or self.fields)

    def accepts(self, body):
        """True for an object that matches every requirement."""
        if self.labels:
            given = body["metadata"].get("labels") or {}
            if not all(test(given) for test in self.labels):
                return False
        return all(test(body) for test in self.fields)


def from_object(selector):
    """The function of labels that a LabelSelector object stands for."""
    wanted = (selector or {}).get("matchLabels") or {}
    tests = [label_test(expression_text(e)) for e in (selector or {}).get("matchExpressions", ())]

    def test(labels):
        return (all(labels.get(key) == value for key, value in wanted.items())
                and all(one(labels) for one in tests))

    return test


def expression_text(expression):
    """A matchExpressions entry as text."""
    key, values = expression["key"], ",".join(expression.get("values", ()))
    forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key,
             "DoesNotExist": "!" + key}
    return forms[expression["operator"]]
