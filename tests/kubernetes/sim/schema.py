"""Structural schemas of custom resources: unknown fields, defaults, faults of values."""
import re

from .errors import cause

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
         "number": (int, float)}


ALWAYS = {"apiVersion", "kind", "metadata"}


def fill(resource, body):
    """Drops the fields that a custom object's schema does not know, and sets its defaults."""
    if resource.schema:
        prune(resource.schema, body, ALWAYS)
        fill_value(resource.schema, body)


def prune(schema, value, kept=frozenset()):
    """Drops the unknown fields below a value, and nulls where a field takes none."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for element in value:
            prune(schema["items"], element)
    if not isinstance(value, dict):
        return
    known = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    free = extra or schema.get("x-kubernetes-preserve-unknown-fields") or not known
    for name in list(value):
        if name in known and value[name] is None and not known[name].get("nullable"):
            del value[name]
        elif name in known:
            prune(known[name], value[name])
        elif isinstance(extra, dict):
            prune(extra, value[name])
        elif not free and name not in kept:
            del value[name]


def fill_value(schema, value):
    """Sets the defaults below a value."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for element in value:
            fill_value(schema["items"], element)
    if not isinstance(value, dict):
        return
    for name, inner in (schema.get("properties") or {}).items():
        if name not in value and "default" in inner:
            value[name] = inner["default"]
        if name in value:
            fill_value(inner, value[name])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for member in value.values():
            fill_value(extra, member)


def causes(resource, body):
    """The faults of a custom object under its schema."""
    if not resource.schema:
        return []
    found = []
    check(resource.schema, body, "", found)
    return found


def type_fault(schema, value, field):
    """The fault of a value that has not the schema's type, or None."""
    wanted = TYPES.get(schema.get("type"))
    if schema.get("x-kubernetes-int-or-string"):
        wanted = (int, str)
    if wanted is None:
        return None
    truth = isinstance(value, bool) and schema.get("type") in ("integer", "number")
    if isinstance(value, wanted) and not truth:
        return None
    given = next((n for n, t in TYPES.items() if isinstance(value, t)), "null")
    return cause("type", field, f'{field} in body must be of type {schema.get("type")}:'
                 f' "{given}"', given)


def check(schema, value, field, found):
    """Appends the faults of a value and of all below it."""
    if value is None and schema.get("nullable"):
        return
    fault = type_fault(schema, value, field)
    if fault:
        found.append(fault)
        return
    if "enum" in schema and value not in schema["enum"]:
        listed = ", ".join(f'"{v}"' for v in schema["enum"])
        found.append(cause("unsupported", field, f"supported values: {listed}", value))
    if isinstance(value, str):
        check_text(schema, value, field, found)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        check_number(schema, value, field, found)
    elif isinstance(value, list):
        check_length(schema, value, field, found, "Items")
        for place, element in enumerate(value):
            check(schema.get("items") or {}, element, f"{field}[{place}]", found)
    elif isinstance(value, dict):
        check_object(schema, value, field, found)


def check_text(schema, value, field, found):
    """The faults of a string."""
    check_length(schema, value, field, found, "Length")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(cause("invalid", field, f"{field} in body should match"
                           f" '{schema['pattern']}'", value))


def check_length(schema, value, field, found, what):
    """The faults of a string's or list's length."""
    least, most = schema.get("min" + what, 0), schema.get("max" + what)
    if len(value) < least:
        found.append(cause("invalid", field, f"{field} in body should be at least {least} long",
                           value))
    if most is not None and len(value) > most:
        found.append(cause("too long", field, f"may not be longer than {most}"))


def check_number(schema, value, field, found):
    """The faults of a number."""
    if "minimum" in schema and value < schema["minimum"]:
        found.append(cause("invalid", field, f"{field} in body should be greater than or equal to"
                           f" {schema['minimum']}", value))
    if "maximum" in schema and value > schema["maximum"]:
        found.append(cause("invalid", field, f"{field} in body should be less than or equal to"
                           f" {schema['maximum']}", value))


def check_object(schema, value, field, found):
    """The faults of an object's members."""
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    most = schema.get("maxProperties")
    if most is not None and len(value) > most:
        found.append(cause("too many", field, f"{len(value)}: must have at most {most} items"))
    for name in schema.get("required") or ():
        if name not in value:
            found.append(cause("required", f"{field}.{name}".lstrip(".")))
    for name, member in value.items():
        inner = f"{field}.{name}".lstrip(".")
        if name in properties:
            check(properties[name], member, inner, found)
        elif isinstance(extra, dict):
            check(extra, member, inner, found)
