"""x-kubernetes-validations: the rules of a custom resource, compiled when its definition comes.

As on servers from 1.25 on.  A rule that names oldSelf runs on updates only, where the old object
has the same value: fields, keys of maps, elements of lists with map keys.
"""
import dataclasses

from . import cel, cel_syntax, cel_types
from .errors import cause

KEY = "customresourcedefinitions.apiextensions.k8s.io"
SINCE = 25  # minor version
RATCHETING = 30  # minor version: what an update leaves as it is may break new rules
KNOWN = {"rule", "message", "messageExpression", "reason", "fieldPath"}
REASONS = {"FieldValueInvalid": "invalid", "FieldValueForbidden": "forbidden",
           "FieldValueRequired": "required", "FieldValueDuplicate": "duplicate"}
BLOCKING = {"FieldValueRequired", "FieldValueNotSupported", "FieldValueTooLong",
            "FieldValueTooMany", "FieldValueTypeInvalid"}
BLOCKED = ("some validation rules were not checked because the object was invalid; correct the"
           " existing errors to complete validation")
ABSENT = object()
ROOT = "<nil>"  # the path of a whole object, as real servers print it


@dataclasses.dataclass(frozen=True)
class Rule:
    """One compiled rule; its message may be an expression of its own."""

    tree: object
    message: str
    expression: object
    kind: str
    field: str
    compares: bool  # names oldSelf


@dataclasses.dataclass(frozen=True)
class Level:
    """The rules of a schema and of those inside it."""

    schema: dict
    rules: tuple
    properties: dict
    extra: object
    items: object
    root: bool


class Compilation:
    """Schemas on their way to Levels; `faults` are those of their rules."""

    def __init__(self):
        self.faults = []

    def level(self, schema, place, root=False, apart=""):
        """The Level of a schema, or None where it has no rule at all.

        `apart` is the place of the list or map around it whose elements no update can tell from
        those that were there before.
        """
        rules = tuple(filter(None, (
            self.rule(schema, given, f"{place}.x-kubernetes-validations[{number}]", root, apart)
            for number, given in enumerate(schema.get("x-kubernetes-validations") or ()))))
        fields = apart or (place if schema.get("x-kubernetes-map-type") == "atomic" else "")
        inside = {name: self.inner(inner, f"{place}.properties[{name}]", fields)
                  for name, inner in (schema.get("properties") or {}).items()}
        inside = {name: level for name, level in inside.items() if level}
        extra = self.inner(schema.get("additionalProperties"), f"{place}.additionalProperties",
                           fields)
        items = self.inner(schema.get("items"), f"{place}.items", apart or (
            place if schema.get("x-kubernetes-list-type") != "map" else ""))
        for word in ("allOf", "anyOf", "oneOf", "not"):
            self.refuse_inside(schema.get(word), f"{place}.{word}")
        if not (rules or inside or extra or items):
            return None
        return Level(schema, rules, inside, extra, items, root)

    def inner(self, schema, place, apart):
        """The Level of a schema inside another one."""
        if not isinstance(schema, dict):
            return None
        root = schema.get("x-kubernetes-embedded-resource", False)
        return self.level(schema, place, root, apart)

    def refuse_inside(self, given, place):
        """Faults for rules below a junctor, which this server does not run."""
        for inner in given if isinstance(given, list) else [given] if given else []:
            if "x-kubernetes-validations" in str(inner):
                self.faults.append(cause("forbidden", place, "rules here are not simulated"))

    def rule(self, schema, given, place, root, apart):
        """One compiled rule, or None and a fault."""
        for name in given.keys() - KNOWN:
            self.faults.append(cause("forbidden", f"{place}.{name}", "is not simulated"))
        kind = cel_types.of_schema(schema, root)
        text = (given.get("rule") or "").strip()
        if not text or kind is None:
            self.faults.append(cause("invalid", f"{place}.rule", "rules need a schema of a known"
                                     " type", text) if text else cause("required", f"{place}.rule"))
            return None
        tree = self.compiled(text, kind, f"{place}.rule", "bool")
        said = given.get("messageExpression")
        expression = said and self.compiled(said, kind, f"{place}.messageExpression", "string")
        self.check_details(schema, given, place)
        if not tree:
            return None
        compares = "oldSelf" in cel_syntax.names(tree)
        if compares and apart:
            self.faults.append(cause("invalid", f"{place}.rule", "oldSelf cannot be used on the"
                                     f" uncorrelatable portion of the schema within {apart}", text))
        message = (given.get("message") or "").strip() or f"failed rule: {text}"
        return Rule(tree, message, expression, REASONS.get(given.get("reason"), "invalid"),
                    given.get("fieldPath", ""), compares)

    def compiled(self, text, kind, place, wanted):
        """A tree, or None and a fault."""
        try:
            return cel.compile_rule(text.strip(), kind, wanted)
        except cel_syntax.Fault as fault:
            before = text.strip()[:fault.place]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            self.faults.append(cause("invalid", place, "compilation failed: ERROR: <input>:"
                                     f"{line}:{column}: {fault.why}", text))
            return None

    def check_details(self, schema, given, place):
        """The faults of a reason and of a field's path."""
        if given.get("reason", "FieldValueInvalid") not in REASONS:
            self.faults.append(cause("unsupported", f"{place}.reason", "supported values: "
                                     + ", ".join(REASONS), given["reason"]))
        path = given.get("fieldPath", "")
        for name in path.removeprefix(".").split(".") if path else ():
            schema = (schema.get("properties") or {}).get(name)
            if schema is None or not path.startswith("."):
                self.faults.append(cause("invalid", f"{place}.fieldPath", "fieldPath must be a"
                                         " valid path", path))
                return


def compiled_schema(schema, minor):
    """The Level of a version's schema, None where it has no rules or the server knows none."""
    return Compilation().level(schema, "", True) if schema and minor >= SINCE else None


def definition_causes(world, resource, body):
    """The faults of the rules in a CustomResourceDefinition."""
    if resource.key != KEY or world.config.minor < SINCE:
        return []
    versions = body["spec"].get("versions") or ()
    made = Compilation()
    for number, version in enumerate(versions):
        place = "spec.validation" if len(versions) == 1 else f"spec.versions[{number}].schema"
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        made.level(schema, f"{place}.openAPIV3Schema", True)
    return made.faults


def causes(world, resource, body, old, others):
    """The faults of an object under its rules; `others` are those that it has already."""
    if not resource.rules:
        return []
    if any(other["reason"] in BLOCKING for other in others):
        return [cause("invalid", ROOT, BLOCKED)]
    walk = Walk(world.config.minor >= RATCHETING)
    walk.visit(resource.rules, body, ABSENT if old is None else old, "", False)
    return walk.found


class Walk:
    """One object on its way through the rules of its schema."""

    def __init__(self, ratchets):
        self.ratchets = ratchets
        self.found = []

    def visit(self, level, value, old, field, kept):
        """Runs the rules of a value and of what is in it; `kept`: it is part of what was there."""
        if value is None:
            return
        kept = kept or value == old
        self.run(level, value, old, field, kept)
        if isinstance(value, list):
            for place, element in enumerate(value if level.items else ()):
                self.visit(level.items, element, partner(level.schema, element, old),
                           f"{field}[{place}]", kept)
        elif isinstance(value, dict):
            atomic = level.schema.get("x-kubernetes-map-type") == "atomic"
            known = old if isinstance(old, dict) and not atomic else {}
            for name, inner in value.items():
                if level.extra:
                    self.visit(level.extra, inner, known.get(name, ABSENT), f"{field}[{name}]",
                               kept)
                elif name in level.properties:
                    self.visit(level.properties[name], inner, known.get(name, ABSENT),
                               f"{field}.{name}".lstrip("."), kept)

    def run(self, level, value, old, field, kept):
        """Runs the rules of one value."""
        if not level.rules:
            return
        names = {"self": cel.value_of(level.schema, value, level.root)}
        if old is not ABSENT and old is not None:
            names["oldSelf"] = cel.value_of(level.schema, old, level.root)
        for rule in level.rules:
            if rule.compares and "oldSelf" not in names or (
                    self.ratchets and kept and not rule.compares):
                continue
            where = (field + rule.field if field else rule.field.lstrip(".")) or ROOT
            shown = level.schema.get("type")
            try:
                if not cel.evaluate(rule.tree, **names):
                    given = None if rule.kind in ("forbidden", "required") else shown
                    self.found.append(cause(rule.kind, where, message_of(rule, names), given))
            except cel.CelError as error:
                self.found.append(cause("invalid", field or ROOT, f"{error} evaluating rule:"
                                        f" {rule.message}", shown))


def partner(schema, element, old):
    """The element of an old list that has the same map keys, or ABSENT."""
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list):
        return ABSENT
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    return next((other for other in old
                 if all(other.get(key) == element.get(key) for key in keys)), ABSENT)


def message_of(rule, names):
    """What is said of a rule that an object breaks."""
    if rule.expression:
        try:
            said = cel.evaluate(rule.expression, **names).strip()
            if said and "\n" not in said:
                return said
        except cel.CelError:
            pass  # as a real server: the plain message then
    return rule.message
