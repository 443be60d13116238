"""CEL, before it runs: the types of a structural schema, and whether an expression keeps to them.

A type is a word ("int", "double", "bool", "string", "null", "dyn"), ("list", T), ("map", K, V), or
a Record.  "dyn" agrees with all.  Strings of the formats that CEL has types for (bytes, durations,
times) are left out: a rule that names such a field is a Fault.
"""
import re

from .cel_syntax import RESERVED, WORDS, Fault

PLAIN = {"integer": "int", "number": "double", "boolean": "bool", "string": "string"}
OTHERS = {"byte", "duration", "date", "date-time"}  # formats whose values are no strings to CEL
NUMBERS = {"int", "double"}
ORDERED = NUMBERS | {"bool", "string"}
ROOT = {"apiVersion": "string", "kind": "string"}
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")
# What RE2 and Python read differently, or only one of them knows.
FOREIGN = re.compile(r"\(\?(?!:|P<|i[:)])|\\[^dDsSwWbBAznrtfv\W_]|[*+?}]\+|\[\[")

# function: [(by the member form, types of the arguments, type of the result)]
FUNCTIONS = {
    **{name: [(True, ("string", "string"), "bool")]
       for name in ("startsWith", "endsWith", "contains", "matches")},
    "int": [(False, (kind,), "int") for kind in ("int", "double", "string")],
    "double": [(False, (kind,), "double") for kind in ("int", "double", "string")],
    "string": [(False, (kind,), "string") for kind in ("int", "bool", "string")],
    "!": [(False, ("bool",), "bool")],
    "&&": [(False, ("bool", "bool"), "bool")],
    "||": [(False, ("bool", "bool"), "bool")],
    "-_": [(False, (kind,), kind) for kind in ("int", "double")],
    "%": [(False, ("int", "int"), "int")],
    **{name: [(False, (kind, kind), kind) for kind in ("int", "double")] for name in "-*/"},
    **{name: [(False, (kind, kind), "bool") for kind in ORDERED]
       + [(False, ("int", "double"), "bool"), (False, ("double", "int"), "bool")]
       for name in ("<", "<=", ">", ">=")},
}


class Record:
    """An object with properties: its fields by the names that rules use."""

    def __init__(self, fields):
        self.fields = fields

    def __repr__(self):
        return "object"


def escape(name):
    """A property's name as rules write it, or None for one that they cannot name."""
    if name in RESERVED or name in WORDS:
        return f"__{name}__"
    for sign, code in (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"),
                       ("/", "__slash__")):
        name = name.replace(sign, code)
    return name if IDENTIFIER.match(name) else None


def of_schema(schema, root=False):
    """The type of a schema's values, or None where rules do not see them."""
    if schema.get("x-kubernetes-int-or-string"):
        return "dyn"
    kind = schema.get("type")
    if kind == "array":
        inner = of_schema(schema.get("items") or {})
        return ("list", inner) if inner else None
    if kind == "object":
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            inner = of_schema(extra, extra.get("x-kubernetes-embedded-resource", False))
            return ("map", "string", inner) if inner else None
        return record_of(schema, root)
    return None if schema.get("format") in OTHERS else PLAIN.get(kind)


def record_of(schema, root):
    """The type of an object with properties."""
    fields = {}
    for name, inner in (schema.get("properties") or {}).items():
        known = of_schema(inner, inner.get("x-kubernetes-embedded-resource", False))
        if known and escape(name):
            fields[escape(name)] = known
    if root:
        fields.update(ROOT, metadata=Record({"name": "string", "generateName": "string"}))
    return Record(fields)


def agree(one, other):
    """True when values of the two types may stand for each other."""
    if "dyn" in (one, other) or one is other:
        return True
    if "null" in (one, other):
        return one == other or any(isinstance(kind, Record) for kind in (one, other))
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(agree(a, b) for a, b in zip(one, other))
    return one == other


def shown(kind):
    """A type as messages have it."""
    if isinstance(kind, tuple):
        return f"{kind[0]}({', '.join(map(shown, kind[1:]))})"
    return str(kind)


def no_overload(node, given):
    """The fault of a function that takes no arguments of such types."""
    sign = {"[]": "_[_]", "in": "@in", "?:": "_?_:_", "-_": "-_", "!": "!_"}.get(node.value)
    name = sign or (node.value if node.value[0].isalpha() else f"_{node.value}_")
    listed = ", ".join(map(shown, given))
    if node.member:
        listed = f"{shown(given[0])}.({', '.join(map(shown, given[1:]))})"
        return Fault(node.place, f"found no matching overload for '{name}' applied to '{listed}'")
    return Fault(node.place, f"found no matching overload for '{name}' applied to '({listed})'")


class Checker:
    """Types of expressions where names have the types given."""

    def __init__(self, names):
        self.scopes = [dict(names)]

    def type_of(self, node):
        """The type of an expression, or a Fault."""
        return getattr(self, "of_" + node.kind)(node)

    def of_literal(self, node):
        """A literal's type."""
        kinds = {bool: "bool", int: "int", float: "double", str: "string", type(None): "null"}
        return kinds[type(node.value)]

    def of_name(self, node):
        """A variable's type."""
        for scope in reversed(self.scopes):
            if node.value in scope:
                return scope[node.value]
        raise Fault(node.place, f"undeclared reference to '{node.value}' (in container '')")

    def of_select(self, node):
        """The type of a field, or of a map's value by its key."""
        kind = self.type_of(node.parts[0])
        if kind == "dyn":
            return "dyn"
        if isinstance(kind, tuple) and kind[0] == "map" and agree(kind[1], "string"):
            return kind[2]
        if not isinstance(kind, Record):
            raise Fault(node.place, f"type '{shown(kind)}' does not support field selection")
        if node.value not in kind.fields:
            raise Fault(node.place, f"undefined field '{node.value}'")
        return kind.fields[node.value]

    def of_has(self, node):
        """has() of a field."""
        self.of_select(node)
        return "bool"

    def of_list(self, node):
        """A list's type: its elements are of one."""
        return ("list", self.common(node, node.parts))

    def of_map(self, node):
        """A map's type: keys of one, values of one."""
        return ("map", self.common(node, node.parts[::2]), self.common(node, node.parts[1::2]))

    def common(self, node, parts):
        """The one type of all parts."""
        kinds = [self.type_of(part) for part in parts]
        for part, kind in zip(parts, kinds):
            if not agree(kinds[0], kind):
                raise Fault(part.place, f"expected type '{shown(kinds[0])}' but found"
                            f" '{shown(kind)}'")
        return kinds[0] if kinds else "dyn"

    def of_fold(self, node):
        """The type of a macro's result."""
        over = self.type_of(node.parts[0])
        if over != "dyn" and not isinstance(over, tuple):
            raise Fault(node.parts[0].place, f"expression of type '{shown(over)}' cannot be range"
                        " of a comprehension (must be list, map, or dynamic)")
        self.scopes.append({node.variable: "dyn" if over == "dyn" else over[1]})
        kinds = [self.type_of(part) for part in node.parts[1:]]
        self.scopes.pop()
        for part, kind in zip(node.parts[1:], kinds if node.value != "map" else kinds[:-1]):
            if not agree(kind, "bool"):
                raise Fault(part.place, f"expected type 'bool' but found '{shown(kind)}'")
        if node.value == "map":
            return ("list", kinds[-1])
        return ("list", "dyn" if over == "dyn" else over[1]) if node.value == "filter" else "bool"

    def of_call(self, node):
        """The type of what a function gives."""
        given = [self.type_of(part) for part in node.parts]
        special = SPECIAL.get(node.value)
        if special:
            kind = special(node, given)
            if kind:
                return kind
        elif node.value not in FUNCTIONS:
            raise Fault(node.place, f"undeclared reference to '{node.value}' (in container '')")
        for member, takes, gives in FUNCTIONS.get(node.value, ()):
            if (member == node.member and len(takes) == len(given)
                    and all(map(agree, takes, given))):
                check_pattern(node)
                return "dyn" if gives != "bool" and "dyn" in given else gives
        raise no_overload(node, given)


def check_pattern(node):
    """A Fault for a literal pattern that is none."""
    if node.value != "matches" or node.parts[1].kind != "literal":
        return
    try:
        compile_pattern(node.parts[1].value)
    except re.error as error:
        raise Fault(node.parts[1].place, f"invalid matches argument: {error}") from error


def compile_pattern(pattern):
    """A pattern of RE2's as Python has it: $ and \\z are the very end, classes are of ASCII."""
    foreign = FOREIGN.search(pattern)
    if foreign:
        raise re.error(f"'{foreign.group()}' is not simulated")
    made, place, inside = [], 0, False
    while place < len(pattern):
        sign = pattern[place]
        if sign == "\\":
            pair = pattern[place:place + 2]
            made.append(r"\Z" if pair == r"\z" else pair)
            place += 2
            continue
        inside = sign == "[" or inside and sign != "]"
        made.append(r"\Z" if sign == "$" and not inside else sign)
        place += 1
    return re.compile("".join(made), re.ASCII)


def equality(_, given):
    """== and !=, of values of one type."""
    return "bool" if agree(*given) else None


def condition(_, given):
    """a ? b : c"""
    if not agree(given[0], "bool") or not agree(given[1], given[2]):
        return None
    return given[2] if given[1] == "dyn" else given[1]


def index(_, given):
    """a[b] of lists and maps."""
    over, key = given
    if over == "dyn":
        return "dyn"
    if isinstance(over, tuple) and agree(key, "int" if over[0] == "list" else over[1]):
        return over[-1]
    return None


def within(_, given):
    """a in b: an element of a list, a key of a map."""
    over = given[1]
    inside = over == "dyn" or isinstance(over, tuple) and agree(given[0], over[1])
    return "bool" if inside else None


def size(_, given):
    """size(a), a.size()"""
    sized = len(given) == 1 and (given[0] in ("string", "dyn") or isinstance(given[0], tuple))
    return "int" if sized else None


def plus(_, given):
    """a + b of numbers, strings and lists."""
    one, other = given
    if not agree(one, other):
        return None
    if one == "dyn":
        return other
    lists = isinstance(one, tuple) and one[0] == "list"
    return one if lists or one in NUMBERS | {"string"} else None


SPECIAL = {"==": equality, "!=": equality, "?:": condition, "[]": index, "in": within,
           "size": size, "+": plus}
