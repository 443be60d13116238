"""CEL at work: a rule's value where its names have values.

An error in one operand of && or || is none where the other operand decides, and so for all() and
exists() over their elements.  Numbers have 64 bits; beyond them is an error, as is a key or a field
that is not there.
"""
import math
import operator
import re

from .cel_syntax import Fault, parse
from .cel_types import ROOT, Checker, compile_pattern, escape

MOST_STEPS = 100_000  # of one evaluation; a real server counts costs
DECIMAL = re.compile(r"[+-]?[0-9]+", re.ASCII)
FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
META = {"properties": {"name": {}, "generateName": {}}}


class CelError(Exception):
    """What a rule ends with when it has no value."""


class Fields(dict):
    """The value of an object with properties, by the names that rules use."""


def value_of(schema, value, root=False):
    """A JSON value as rules see it."""
    if isinstance(value, list):
        return [value_of(schema.get("items") or {}, element) for element in value]
    if isinstance(value, dict):
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            return {name: value_of(extra, inner) for name, inner in value.items()}
        known = schema.get("properties") or {}
        if root or schema.get("x-kubernetes-embedded-resource"):
            known = {**known, **{name: {} for name in ROOT}, "metadata": META}
        return Fields((escape(name), value_of(known[name], inner))
                      for name, inner in value.items() if name in known)
    if schema.get("type") == "number" and not isinstance(value, bool):
        return float(value)
    return value


def compile_rule(text, kind, wanted="bool"):
    """A rule's tree, for self and oldSelf of a type; a Fault where it is none."""
    tree = parse(text)
    if Checker({"self": kind, "oldSelf": kind}).type_of(tree) != wanted:
        raise Fault(0, f"cel expression must evaluate to a {wanted}")
    return tree


def evaluate(tree, **names):
    """The value of a tree; a CelError where it has none."""
    return Evaluation(names).value(tree)


def same(one, other):
    """=="""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other


def whole(value):
    """A whole number of 64 bits, or a CelError."""
    if isinstance(value, int) and not -2**63 <= value < 2**63:
        raise CelError("integer overflow")
    return value


def divide(one, other):
    """/ towards zero, or a CelError."""
    if isinstance(one, float):
        if other == 0.0:
            return math.nan if one == 0.0 or math.isnan(one) else math.copysign(
                math.inf, one * math.copysign(1.0, other))
        return one / other
    if other == 0:
        raise CelError("division by zero")
    quotient = abs(one) // abs(other)
    return quotient if (one < 0) == (other < 0) else -quotient


def remainder(one, other):
    """%, with the sign of what is divided."""
    if other == 0:
        raise CelError("modulus by zero")
    return one - other * divide(one, other)


def to_int(value):
    """int(x)"""
    if isinstance(value, str) and not DECIMAL.fullmatch(value):
        raise CelError("type conversion error from 'string' to 'int'")
    if isinstance(value, float) and not math.isfinite(value):
        raise CelError("integer overflow")
    return whole(int(value))


def to_double(value):
    """double(x)"""
    if isinstance(value, str) and not FLOAT.fullmatch(value):
        raise CelError("type conversion error from 'string' to 'double'")
    return float(value)


def to_string(value):
    """string(x)"""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def element(over, key):
    """a[b]"""
    if isinstance(over, list):
        if not 0 <= key < len(over):
            raise CelError(f"index out of bounds: {key}")
        return over[key]
    if key not in over:
        raise CelError(f"no such key: {key}")
    return over[key]


def matches(text, pattern):
    """a.matches(b)"""
    try:
        return compile_pattern(pattern).search(text) is not None
    except re.error as error:
        raise CelError(f"invalid matches argument: {error}") from error


def within(value, over):
    """a in b"""
    return any(same(value, inner) for inner in over)


def kind_of(value):
    """The kind of a value, by which "dyn" arguments are checked at last."""
    kinds = {bool: "bool", int: "int", float: "double", str: "string", list: "list",
             dict: "map", Fields: "object"}
    return kinds.get(type(value), "null")


ANY = {"bool", "int", "double", "string", "list", "map", "object", "null"}
NUMBER = {"int", "double"}
TEXT = {"string"}
# function: (what does it, the kinds of each argument, whether all are of one kind)
WORK = {
    "+": (lambda a, b: whole(a + b), [NUMBER | TEXT | {"list"}] * 2, True),
    "-": (lambda a, b: whole(a - b), [NUMBER] * 2, True),
    "*": (lambda a, b: whole(a * b), [NUMBER] * 2, True),
    "/": (lambda a, b: whole(divide(a, b)), [NUMBER] * 2, True),
    "%": (remainder, [{"int"}] * 2, True),
    "-_": (lambda a: whole(-a), [NUMBER], True),
    "!": (operator.not_, [{"bool"}], True),
    "==": (same, [ANY] * 2, False),
    "!=": (lambda a, b: not same(a, b), [ANY] * 2, False),
    "[]": (element, [{"list", "map"}, TEXT | {"int", "bool"}], False),
    "in": (within, [ANY, {"list", "map"}], False),
    "size": (len, [TEXT | {"list", "map"}], True),
    "startsWith": (str.startswith, [TEXT] * 2, True),
    "endsWith": (str.endswith, [TEXT] * 2, True),
    "contains": (operator.contains, [TEXT] * 2, True),
    "matches": (matches, [TEXT] * 2, True),
    "int": (to_int, [NUMBER | TEXT], True),
    "double": (to_double, [NUMBER | TEXT], True),
    "string": (to_string, [TEXT | {"int", "bool"}], True),
}
ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Evaluation:
    """One evaluation: its names and the steps that it took."""

    def __init__(self, names):
        self.scopes = [names]
        self.steps = 0

    def value(self, node):
        """The value of a node."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise CelError("operation cancelled: actual cost limit exceeded")
        return getattr(self, "of_" + node.kind)(node)

    def truth(self, node):
        """The value of a node that must be true or false."""
        value = self.value(node)
        if not isinstance(value, bool):
            raise CelError("no such overload")
        return value

    def of_literal(self, node):
        """A literal."""
        return node.value

    def of_name(self, node):
        """A variable."""
        return next(scope[node.value] for scope in reversed(self.scopes) if node.value in scope)

    def of_select(self, node):
        """A field that must be there."""
        over = self.value(node.parts[0])
        if not isinstance(over, dict):
            raise CelError("no such overload")
        if node.value not in over:
            raise CelError(f"no such key: {node.value}")
        return over[node.value]

    def of_has(self, node):
        """Whether a field is there."""
        over = self.value(node.parts[0])
        if not isinstance(over, dict):
            raise CelError("no such overload")
        return node.value in over

    def of_list(self, node):
        """A list."""
        return [self.value(part) for part in node.parts]

    def of_map(self, node):
        """A map; a key may stand in it once."""
        made = {}
        for key, value in zip(node.parts[::2], node.parts[1::2]):
            name = self.value(key)
            if name in made:
                raise CelError(f"insert failed: key {name} already exists")
            made[name] = self.value(value)
        return made

    def of_call(self, node):
        """A function of values, or one of the operators that leave some of them alone."""
        if node.value in ("&&", "||"):
            return self.decided((lambda n=part: self.truth(n) for part in node.parts),
                                node.value == "||")
        if node.value == "?:":
            return self.value(node.parts[1 if self.truth(node.parts[0]) else 2])
        given = [self.value(part) for part in node.parts]
        kinds = [kind_of(value) for value in given]
        if node.value in ORDER:
            if len(set(kinds)) > 1 and set(kinds) != NUMBER or kinds[0] in ("list", "map", "null"):
                raise CelError("no such overload")
            return ORDER[node.value](*given)
        work, takes, alike = WORK[node.value]
        if any(k not in t for k, t in zip(kinds, takes)) or alike and len(set(kinds)) > 1:
            raise CelError("no such overload")
        return work(*given)

    @staticmethod
    def decided(values, by):
        """`by` if one of the values is that; else the first error; else the other value."""
        failed = None
        for value in values:
            try:
                if value() is by:
                    return by
            except CelError as error:
                failed = failed or error
        if failed:
            raise failed
        return not by

    def of_fold(self, node):
        """A macro."""
        over = self.value(node.parts[0])
        if not isinstance(over, (list, dict)):
            raise CelError("no such overload")
        if node.value in ("all", "exists"):
            return self.decided((lambda v=value: self.bound(node, v, self.truth, 1)
                                 for value in over), node.value == "exists")
        if node.value == "exists_one":
            return sum(self.bound(node, value, self.truth, 1) for value in over) == 1
        if node.value == "filter":
            return [value for value in over if self.bound(node, value, self.truth, 1)]
        chosen = over
        if len(node.parts) == 3:
            chosen = [value for value in over if self.bound(node, value, self.truth, 1)]
        return [self.bound(node, value, self.value, -1) for value in chosen]

    def bound(self, node, value, how, part):
        """A part of a macro where its variable has a value."""
        self.scopes.append({node.variable: value})
        try:
            return how(node.parts[part])
        finally:
            self.scopes.pop()
