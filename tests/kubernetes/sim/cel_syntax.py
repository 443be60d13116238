"""CEL, the language of x-kubernetes-validations: from its text to a tree, macros taken apart.

Left out, each a Fault: unsigned numbers, bytes, messages built by name, optional values.
"""
import dataclasses
import math
import re

TOKEN = re.compile(r"""
      (?P<space> \s+ | //[^\n]*)
    | (?P<text> [rR]? (?: \"{3} .*? \"{3} | '{3} .*? '{3}
                        | \"(?:[^\"\\\n]|\\.)*\" | '(?:[^'\\\n]|\\.)*'))
    | (?P<float> \d+\.\d+(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ | \.\d+(?:[eE][+-]?\d+)?)
    | (?P<int> 0x[0-9a-fA-F]+ | \d+)
    | (?P<name> [A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign> && | \|\| | <= | >= | == | != | [-+*/%<>!?:.,()\[\]{}])
""", re.VERBOSE | re.DOTALL)
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\",
           "?": "?", '"': '"', "'": "'", "`": "`"}
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[xX][0-9a-fA-F]{2}|[0-3][0-7]{2}|.)",
                    re.DOTALL)
WORDS = {"true": True, "false": False, "null": None}
RESERVED = {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "in",
            "let", "loop", "package", "namespace", "return", "var", "void", "while"}
LEVELS = (("||",), ("&&",), ("<", "<=", ">", ">=", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
FOLDS = {"all": (2,), "exists": (2,), "exists_one": (2,), "map": (2, 3), "filter": (2,)}
DEEPEST = 50


class Fault(Exception):
    """A rule that is none: where in its text, and why."""

    def __init__(self, place, why):
        super().__init__(why)
        self.place = place
        self.why = why


@dataclasses.dataclass(frozen=True)
class Node:
    """A part of a rule.

    kind      value            parts
    literal   the value
    name      the name
    select    the field        [operand]
    has       the field        [operand]
    call      function         arguments, the target first where `member`
    list                       elements
    map                        keys and values in turn
    fold      the macro        [range, expressions ...], its variable's name in `variable`
    """

    kind: str
    place: int
    value: object = None
    parts: tuple = ()
    member: bool = False
    variable: str = ""


def unescape(token, place):
    """The value of a string literal."""
    raw = token[0] in "rR"
    body = token[1:] if raw else token
    quotes = 3 if body[:3] in ('"""', "'''") else 1
    body = body[quotes:-quotes]
    if raw:
        return body

    def one(match):
        code = match.group(1)
        if code in ESCAPES:
            return ESCAPES[code]
        if code[0] in "uUxX" and len(code) > 1:
            return chr(int(code[1:], 16))
        if len(code) == 3:
            return chr(int(code, 8))
        raise Fault(place, f"Syntax error: token recognition error at: '\\{code}'")

    return ESCAPE.sub(one, body)


def tokens(text):
    """[(kind, text, place)], an end at the end."""
    found, place = [], 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if not match:
            raise Fault(place, f"Syntax error: token recognition error at: '{text[place]}'")
        if match.lastgroup != "space":
            found.append((match.lastgroup, match.group(), place))
        place = match.end()
        if match.lastgroup == "int" and text[place:place + 1] in ("u", "U"):
            raise Fault(place, "unsigned numbers are not simulated")
    return found + [("end", "<EOF>", len(text))]


class Parser:
    """One text on its way to a tree."""

    def __init__(self, text):
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0

    def peek(self):
        """The text of the next token, "" for one that is a string."""
        kind, text, _ = self.tokens[self.at]
        return "" if kind == "text" else text

    def take(self):
        """The next token."""
        token = self.tokens[self.at]
        self.at += 1
        return token

    def place(self):
        """Where the next token stands."""
        return self.tokens[self.at][2]

    def refuse(self):
        """Raises the fault of a token that nothing may begin with."""
        _, text, place = self.tokens[self.at]
        raise Fault(place, f"Syntax error: mismatched input '{text}'")

    def expect(self, sign):
        """Takes a sign that must follow."""
        if self.peek() != sign:
            self.refuse()
        self.take()

    def whole(self):
        """The tree of all of the text."""
        node = self.expression()
        if self.peek() != "<EOF>":
            self.refuse()
        return node

    def expression(self):
        """A condition, or what binds closer."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Fault(self.place(), "expression recursion limit exceeded")
        node = self.binary(0)
        if self.peek() == "?":
            place = self.take()[2]
            yes = self.binary(0)
            self.expect(":")
            node = Node("call", place, "?:", (node, yes, self.expression()))
        self.depth -= 1
        return node

    def binary(self, level):
        """Operators of a level of LEVELS and of those that bind closer."""
        if level == len(LEVELS):
            return self.unary()
        node = self.binary(level + 1)
        while self.peek() in LEVELS[level]:
            _, sign, place = self.take()
            node = Node("call", place, sign, (node, self.binary(level + 1)))
        return node

    def unary(self):
        """! and -, before a member."""
        sign = self.peek()
        if sign not in ("!", "-"):
            return self.member(self.primary())
        place = self.take()[2]
        kind, text, _ = self.tokens[self.at]
        if sign == "-" and kind in ("int", "float"):
            return self.member(self.number(-1))
        return Node("call", place, "!" if sign == "!" else "-_", (self.unary(),))

    def member(self, node):
        """What follows a primary: fields, calls and indices."""
        while self.peek() in (".", "["):
            place = self.take()[2]
            if self.tokens[self.at - 1][1] == "[":
                node = Node("call", place, "[]", (node, self.expression()))
                self.expect("]")
                continue
            kind, name, at = self.take()
            if kind != "name" or name in WORDS or name == "in":
                raise Fault(at, f"Syntax error: no field name: '{name}'")
            node = self.call(name, at, node) if self.peek() == "(" else Node("select", place, name,
                                                                             (node,))
        return node

    def arguments(self, end):
        """Expressions up to a closing sign."""
        found = []
        while self.peek() != end:
            found.append(self.expression())
            if self.peek() != end:
                self.expect(",")
        self.take()
        return tuple(found)

    def call(self, name, place, target=None):
        """A function, a method or a macro."""
        self.expect("(")
        given = self.arguments(")")
        if target is None:
            return has(place, given) if name == "has" else Node("call", place, name, given)
        if len(given) in FOLDS.get(name, ()):
            return fold(name, place, target, given)
        return Node("call", place, name, (target, *given), member=True)

    def number(self, sign=1):
        """A number."""
        kind, text, place = self.take()
        value = float(text) if kind == "float" else int(text, 0) if "x" in text else int(text)
        value *= sign
        if kind == "int" and not -2**63 <= value < 2**63 or abs(value) == math.inf:
            raise Fault(place, f"invalid {'int' if kind == 'int' else 'double'} literal")
        return Node("literal", place, value)

    def primary(self):
        """A literal, a name, a call, a list, a map, or an expression in parentheses."""
        kind, text, place = self.tokens[self.at]
        if kind in ("int", "float"):
            return self.number()
        if kind == "end" or kind == "sign" and text not in ("(", "[", "{"):
            self.refuse()
        self.take()
        if kind == "text":
            return Node("literal", place, unescape(text, place))
        if text == "(":
            node = self.expression()
            self.expect(")")
            return node
        if text == "[":
            return Node("list", place, None, self.arguments("]"))
        if text == "{":
            return Node("map", place, None, self.entries())
        if text in WORDS:
            return Node("literal", place, WORDS[text])
        if text in RESERVED:
            raise Fault(place, f"reserved identifier: {text}")
        return self.call(text, place) if self.peek() == "(" else Node("name", place, text)

    def entries(self):
        """The keys and values of a map."""
        found = []
        while self.peek() != "}":
            found.append(self.expression())
            self.expect(":")
            found.append(self.expression())
            if self.peek() != "}":
                self.expect(",")
        self.take()
        return tuple(found)


def has(place, given):
    """has(a.b): the field is there."""
    if len(given) != 1 or given[0].kind != "select":
        raise Fault(place, "invalid argument to has() macro")
    return Node("has", place, given[0].value, given[0].parts)


def fold(name, place, target, given):
    """A macro over a list's elements or a map's keys."""
    if given[0].kind != "name":
        raise Fault(given[0].place, "argument must be a simple name")
    return Node("fold", place, name, (target, *given[1:]), variable=given[0].value)


def parse(text):
    """The tree of a text."""
    return Parser(text).whole()


def names(node):
    """The free and bound names that a tree has."""
    if node.kind == "name":
        yield node.value
    for part in node.parts:
        yield from names(part)
