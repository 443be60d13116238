#!/usr/bin/env python3
"""x-kubernetes-validations on the simulated API server: the language, rules of any definition, and
those of our MPIJob, each of which refuses what it should."""
import ast
import os
import unittest

import yaml

from sim import cel, cel_syntax, cel_types
from sim_case import Case
from sim_client import path_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
CRD = os.path.join(ROOT, "k8s", "deploy", "crd", "mpijobs.yaml")
DEFINITIONS = "customresourcedefinitions"

SCHEMA = {"type": "object", "properties": {
    "n": {"type": "integer"}, "d": {"type": "number"}, "s": {"type": "string"},
    "b": {"type": "boolean"}, "gone": {"type": "string"}, "a-b": {"type": "integer"},
    "for": {"type": "integer"}, "time": {"type": "string", "format": "date-time"},
    "either": {"x-kubernetes-int-or-string": True},
    "list": {"type": "array", "items": {"type": "integer"}},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "in": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
VALUE = {"n": 7, "d": 2, "s": "a-b", "b": True, "a-b": 1, "for": 2, "either": "x",
         "list": [1, 2, 3], "map": {"one": 1, "two": 2}, "in": {"x": 5}}
NO_VALUE = "no value"

TRUE = (
    "self.n == 7 && self.d == 2.0 && self.s == 'a-b' && self.b && !false",
    "self.n / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1 && 2 + 3 * 4 == 14 && 7 - 2 - 1 == 4",
    "self.n > self.d && 1 < 2.5 && 'a' < 'b' && self.n >= 7 && self.n != 8 && 0x10 == 16",
    "has(self.n) && !has(self.gone) && has(self.map.one) && !has(self.map.three)",
    "self.a__dash__b == 1 && self.__for__ == 2 && self.__in__.x == 5",
    "size(self.s) == 3 && self.list.size() == 3 && size(self.map) == 2 && 'h\\u00e9'.size() == 2",
    "'one' in self.map && !('x' in self.map) && 2 in self.list && self.n in [6, 7]",
    "self.list[0] == 1 && self.map['two'] == 2 && [1, 2] + [3] == self.list && 'a' + 'b' == 'ab'",
    "self.s.startsWith('a') && self.s.endsWith('b') && self.s.contains('-')",
    "self.s.matches('^[a-z]-') && !'a\\n'.matches('^a$') && 'xay'.matches('a')",
    "'a$'.matches('[$]') && !'\u0661'.matches('\\\\d')",
    "string(self.n) == '7' && int('12') == 12 && int(2.9) == 2 && double(1) == 1.0",
    "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.exists_one(x, x > 2)",
    "self.list.map(x, x * 2) == [2, 4, 6] && self.list.map(x, x > 1, x) == [2, 3]",
    "self.list.filter(x, x > 1).size() == 2 && self.map.all(k, self.map[k] > 0)",
    "self.list.all(x, self.list.exists(y, y >= x))",
    "self.n > 5 ? true : self.gone == 'x'",
    "self.gone == 'x' || true",
    "true || self.gone == 'x'",
    "!(self.gone == 'x' && false)",
    "self.list.exists(x, x == 3 || self.list[x] > 9)",
    "!self.list.all(x, x < 3 && self.list[x] > 0)",
    "self.list.exists(x, 6 / (x - 1) == 6)",
    "self.either == 'x' && size(self.either) == 1",
    "{'a': 1}['a'] == 1 && {'a': 1} == {'a': 1} && self.__in__ != null",
    "r'\\d' == '\\\\d' && \"\"\"a\"b\"\"\" == 'a\"b' // what follows is not read",
)
FAILS = {
    "self.gone == 'x'": "no such key: gone",
    "self.gone == 'x' || false": "no such key: gone",
    "self.gone == 'x' && true": "no such key: gone",
    "self.map['three'] == 3": "no such key: three",
    "self.list[3] == 0": "index out of bounds: 3",
    "self.n / 0 == 1": "division by zero",
    "self.n % 0 == 1": "modulus by zero",
    "9223372036854775807 + self.n > 0": "integer overflow",
    "int(self.s) == 1": "type conversion error from 'string' to 'int'",
    "int('1_0') == 10": "type conversion error from 'string' to 'int'",
    "double(' 1') == 1.0": "type conversion error from 'string' to 'double'",
    "self.s.matches(self.s + '(')": "invalid matches argument",
    "self.either < 3": "no such overload",
    "self.list.exists_one(x, 6 / (x - 1) == 6)": "division by zero",
    "self.list.all(a, self.list.all(b, self.list.all(c, self.list.all(d, self.list.all(e,"
    " self.list.all(f, self.list.all(g, self.list.all(h, self.list.all(i, self.list.all(j,"
    " self.list.all(k, a > 0)))))))))))": "cost limit",
}
REFUSED = {
    "self.n ==": (9, "mismatched input '<EOF>'"),
    "self.n == 7)": (11, "mismatched input ')'"),
    "self.n = 7": (7, "token recognition error"),
    "self.n == 'a": (10, "token recognition error"),
    "self.absent == 1": (4, "undefined field 'absent'"),
    "self.time == 'x'": (4, "undefined field 'time'"),
    "other == 1": (0, "undeclared reference to 'other'"),
    "self.s.trim() == 'a'": (7, "undeclared reference to 'trim'"),
    "duration('5s') == duration('5s')": (0, "undeclared reference to 'duration'"),
    "self.n == 'a'": (7, "found no matching overload for '_==_' applied to '(int, string)'"),
    "self.s + 1 == 'a'": (7, "found no matching overload for '_+_' applied to '(string, int)'"),
    "self.s && true": (7, "found no matching overload for '_&&_' applied to '(string, bool)'"),
    "self['n'] == 1": (4, "found no matching overload for '_[_]' applied to '(object, string)'"),
    "self.s.startsWith(1)": (7, "found no matching overload for 'startsWith' applied to"
                             " 'string.(int)'"),
    "self.n ? true : false": (7, "found no matching overload for '_?_:_'"),
    "self.n.all(x, true)": (4, "cannot be range of a comprehension"),
    "self.list.all(x, x)": (17, "expected type 'bool' but found 'int'"),
    "self.list.all(self.n, true)": (18, "argument must be a simple name"),
    "[1, 'a'].size() == 2": (4, "expected type 'int' but found 'string'"),
    "has(self)": (0, "invalid argument to has() macro"),
    "self.s.matches('a(?=b)')": (15, "invalid matches argument"),
    "self.s.matches('[[:alpha:]]')": (15, "'[[' is not simulated"),
    "1e400 > 1.0": (0, "invalid double literal"),
    "self.s.matches('a(')": (15, "invalid matches argument"),
    "self.n == 7u": (11, "unsigned numbers are not simulated"),
    "self.n == 9223372036854775808": (10, "invalid int literal"),
    "self.n": (0, "cel expression must evaluate to a bool"),
    "for == 1": (0, "reserved identifier: for"),
    "(" * 60 + "true" + ")" * 60: (50, "recursion limit"),
}


class Language(unittest.TestCase):
    """Expressions over one object."""

    KIND = cel_types.of_schema(SCHEMA)

    def value(self, text):
        tree = cel.compile_rule(text, self.KIND)
        return cel.evaluate(tree, self=cel.value_of(SCHEMA, VALUE))

    def test_values(self):
        for text in TRUE:
            with self.subTest(text):
                self.assertIs(True, self.value(text))

    def test_errors(self):
        for text, why in FAILS.items():
            with self.subTest(text):
                with self.assertRaises(cel.CelError) as caught:
                    self.value(text)
                self.assertIn(why, str(caught.exception))

    def test_what_does_not_compile(self):
        for text, (place, why) in REFUSED.items():
            with self.subTest(text):
                with self.assertRaises(cel_syntax.Fault) as caught:
                    cel.compile_rule(text, self.KIND)
                self.assertIn(why, caught.exception.why)
                self.assertEqual(place, caught.exception.place)


def definition(spec, **more):
    """The definition of Things whose spec has a schema."""
    schema = {"type": "object", "properties": {"spec": spec, "status": {
        "type": "object", "properties": {"n": {"type": "integer"}}}}, **more}
    return {"metadata": {"name": "things.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True,
                      "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}]}}


def ruled(*rules, **schema):
    """A schema with rules."""
    return {**schema, "x-kubernetes-validations": [
        rule if isinstance(rule, dict) else {"rule": rule} for rule in rules]}


class RuleCase(Case):
    """Definitions that come and go with a test."""

    def define(self, body):
        self.sim.create(DEFINITIONS, body, "")
        self.addCleanup(self.sim.delete, DEFINITIONS, body["metadata"]["name"], "")

    def make(self, spec, name="t"):
        return self.sim.ask("POST", path_of("things", self.space, group="example.com/v1"),
                            {"metadata": {"name": name}, "spec": spec})

    def change(self, spec, name="t", part=""):
        path = path_of("things", self.space, name, part, group="example.com/v1")
        return self.sim.ask("PATCH", path, spec if part else {"spec": spec},
                            kind="application/merge-patch+json")

    def faults(self, ask, *given):
        """{field: (reason, message)} of what is refused."""
        with self.refused(422, "Invalid") as found:
            ask(*given)
        return {c["field"]: (c["reason"], c["message"])
                for c in found[0].status["details"]["causes"]}


class Rules(RuleCase):
    """Rules at any level of a schema."""

    def test_levels_messages_and_reasons(self):
        item = ruled({"rule": "self.n > 0", "fieldPath": ".n", "reason": "FieldValueForbidden",
                      "message": "must be more than 0"},
                     type="object", properties={"n": {"type": "integer"}})
        self.define(definition(ruled(
            {"rule": "size(self.map) < 3", "message": " few, please\n",
             "messageExpression": "'there are ' + string(size(self.map))"},
            "!has(self.list) || self.list.all(x, x.n != 5)", type="object", properties={
                "list": {"type": "array", "items": item},
                "map": {"type": "object", "additionalProperties": ruled(
                    {"rule": "self < 9", "messageExpression": "string(self / (self - 9))",
                     "message": "less than 9"}, type="integer")}})))
        self.make({"map": {"a": 8}, "list": [{"n": 1}]})
        self.assertEqual({
            "spec": ("FieldValueInvalid", 'Invalid value: "object": there are 3'),
            "spec.map[c]": ("FieldValueInvalid", 'Invalid value: "integer": less than 9'),
            "spec.list[1].n": ("FieldValueForbidden", "Forbidden: must be more than 0"),
        }, self.faults(self.make, {"map": {"a": 1, "b": 2, "c": 9},
                                   "list": [{"n": 1}, {"n": -1}]}, "u"))
        self.assertEqual({"spec": ("FieldValueInvalid", 'Invalid value: "object": failed rule:'
                                   " !has(self.list) || self.list.all(x, x.n != 5)")},
                         self.faults(self.make, {"map": {}, "list": [{"n": 5}]}, "u"))
        self.assertEqual("Invalid value: \"object\": no such key: map evaluating rule: few, please",
                         self.faults(self.make, {}, "u")["spec"][1])

    def test_transitions(self):
        same = {"rule": "self == oldSelf", "message": "stays"}
        element = {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "n": ruled(same, type="integer")}}
        self.define(definition({"type": "object", "properties": {
            "n": ruled(same, type="integer"),
            "keyed": {"type": "array", "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["name"], "items": element},
            "map": {"type": "object", "additionalProperties": ruled(same, type="string")}}}))
        one, two = {"name": "a", "n": 1}, {"name": "b", "n": 2}
        self.make({"n": 1, "keyed": [one, two], "map": {"a": "x"}})
        for spec in ({"n": 1}, {"keyed": [two, one]}, {"keyed": [one, {"name": "c", "n": 5}]},
                     {"map": {"b": "y"}}, {"n": None}, {"n": 4}):
            with self.subTest(spec):
                self.change(spec)
        for spec, field in (({"n": 5}, "spec.n"), ({"map": {"a": "y"}}, "spec.map[a]"),
                            ({"keyed": [{"name": "d", "n": 9}, {"name": "a", "n": 2}]},
                             "spec.keyed[1].n")):
            with self.subTest(spec):
                self.assertEqual([field], list(self.faults(self.change, spec)))

    def test_faults_of_the_schema_come_first(self):
        self.define(definition(ruled("self.n > 0", type="object", properties={
            "n": {"type": "integer", "minimum": 5}})))
        self.assertEqual({"<nil>", "spec.n"}, set(self.faults(self.make, {"n": "x"})))
        text = self.faults(self.make, {"n": "x"})["<nil>"][1]
        self.assertIn("some validation rules were not checked", text)
        self.assertEqual({"spec", "spec.n"}, set(self.faults(self.make, {"n": -1})))

    def test_what_an_update_leaves_alone(self):
        def schema(number):
            return definition({"type": "object", "properties": {
                "n": number, "list": {"type": "array", "items": number},
                "m": {"type": "integer"}}})

        self.define(schema({"type": "integer"}))
        self.make({"n": -1, "list": [-1]})
        body = schema(ruled("self > 0", type="integer"))
        self.sim.patch(DEFINITIONS, "things.example.com", body, "merge", "")
        self.change({"m": 1})
        self.change({"status": {"n": 1}}, part="status")
        self.assertEqual({"spec.n"}, set(self.faults(self.change, {"n": -2})))
        self.assertEqual({"spec.list[1]"}, set(self.faults(self.change, {"list": [1, -1]})))
        self.sim.control("config", version="1.29")
        self.addCleanup(self.sim.control, "config", version="1.31")
        both = {"spec.n", "spec.list[0]"}
        self.assertEqual(both, set(self.faults(self.change, {"m": 2})))
        self.assertEqual(both, set(self.faults(self.change, {"status": {"n": 2}}, "t", "status")))

    def test_definitions_that_do_not_compile(self):
        number = {"type": "object", "properties": {"n": {"type": "integer"}}}
        top = "spec.validation.openAPIV3Schema.properties[spec]"
        first = f"{top}.x-kubernetes-validations[0]"
        for schema, field, why in (
                (ruled("self.m > 0", **number), f"{first}.rule",
                 "compilation failed: ERROR: <input>:1:5: undefined field 'm'"),
                (ruled("self.n > 0 &&\n\n  quantity('1') > 0", **number), f"{first}.rule",
                 "<input>:3:3: undeclared reference to 'quantity'"),
                (ruled({"message": "x"}, **number), f"{first}.rule", "Required value"),
                (ruled({"rule": "self.n > 0", "messageExpression": "self.n"}, **number),
                 f"{first}.messageExpression", "must evaluate to a string"),
                (ruled({"rule": "self.n > 0", "fieldPath": ".m"}, **number),
                 f"{first}.fieldPath", "must be a valid path"),
                (ruled({"rule": "self.n > 0", "reason": "Odd"}, **number), f"{first}.reason",
                 "Unsupported value"),
                (ruled({"rule": "self.n > 0", "optionalOldSelf": True}, **number),
                 f"{first}.optionalOldSelf", "is not simulated"),
                ({**number, "allOf": [ruled("self.n > 0")]}, f"{top}.allOf", "not simulated"),
                ({"type": "array", "items": ruled("self == oldSelf", type="integer")},
                 f"{top}.items.x-kubernetes-validations[0].rule", f"within {top}"),
                ({"type": "object", "x-kubernetes-map-type": "atomic",
                  "additionalProperties": ruled("self == oldSelf", type="integer")},
                 f"{top}.additionalProperties.x-kubernetes-validations[0].rule", f"within {top}"),
                ({"type": "array", "items": ruled("self > 'a'", type="integer")},
                 f"{top}.items.x-kubernetes-validations[0].rule", "no matching overload")):
            with self.subTest(field=field, why=why):
                found = self.faults(self.sim.create, DEFINITIONS, definition(schema), "")
                self.assertEqual([field], list(found))
                self.assertIn(why, found[field][1])
        self.define(definition(number))
        body = definition(ruled("self.m > 0", **number))
        self.assertEqual([f"{first}.rule"], list(self.faults(
            self.sim.patch, DEFINITIONS, "things.example.com", body, "merge", "")))


class OldServer(RuleCase):
    """Before 1.25 rules are passed over."""

    ARGUMENTS = ("--version", "1.24")

    def test_rules_are_ignored(self):
        self.define(definition(ruled("no rule at all", type="object", properties={
            "n": {"type": "integer"}})))
        self.make({"n": 1})


def job(name="a", workers=2):
    """An MPIJob that our definition takes."""
    part = {"template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}}
    specs = {"Launcher": {"replicas": 1, **part}, "Worker": {"replicas": workers, **part}}
    return {"metadata": {"name": name}, "spec": {"mpiReplicaSpecs": specs}}


class OurDefinition(Case):
    """The rules of k8s/deploy/crd/mpijobs.yaml."""

    ARGUMENTS = ("--no-mpijob",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(CRD, encoding="utf-8") as file:
            cls.body = yaml.safe_load(file)
        cls.sim.create(DEFINITIONS, cls.body, "")

    def taken(self, body):
        self.create("mpijobs", body)
        self.delete("mpijobs", body["metadata"]["name"])

    def refuses(self, body, field, message):
        """One fault, of a field, and its message."""
        with self.refused(422, "Invalid") as found:
            self.create("mpijobs", body)
        self.assertEqual([(field, f'Invalid value: "object": {message}')], [
            (c["field"], c["message"]) for c in found[0].status["details"]["causes"]])

    def test_the_name(self):
        for name in ("a", "a-1", "b" * 50):
            self.taken(job(name))
        for name in ("1a", "a.b"):
            self.refuses(job(name), "<nil>", "the name must be a DNS label that begins with a"
                         " letter, without dots")

    def test_the_length_of_the_name(self):
        why = "the name is too long, NAME-worker-NUMBER may have 63 letters"
        for length, workers in ((54, 10), (53, 100), (53, 11), (50, 100_000)):
            self.taken(job("a" * length, workers))
            self.refuses(job("a" * (length + 1), workers), "<nil>", why)
        body = job("a" * 55)
        del body["spec"]["mpiReplicaSpecs"]["Worker"]
        body["spec"]["runLauncherAsWorker"] = True
        self.refuses(body, "<nil>", why)
        body["metadata"]["name"] = "a" * 54
        self.taken(body)

    def test_replica_types(self):
        where = "spec.mpiReplicaSpecs"
        body = job()
        body["spec"]["mpiReplicaSpecs"]["Extra"] = body["spec"]["mpiReplicaSpecs"]["Worker"]
        self.refuses(body, where, "only Launcher and Worker are known")
        body = job()
        del body["spec"]["mpiReplicaSpecs"]["Launcher"]
        self.refuses(body, where, "Launcher is missing")
        body = job()
        body["spec"]["mpiReplicaSpecs"]["Launcher"]["replicas"] = 2
        self.refuses(body, where, "there is one Launcher, its replicas must be 1")
        del body["spec"]["mpiReplicaSpecs"]["Launcher"]["replicas"]
        self.taken(body)
        body = job()
        del body["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"]
        self.refuses(body, where, "Worker.replicas is missing")

    def test_a_job_without_workers(self):
        body = job()
        del body["spec"]["mpiReplicaSpecs"]["Worker"]
        why = "a job without Worker needs runLauncherAsWorker"
        self.refuses(body, "spec", why)
        body["spec"]["runLauncherAsWorker"] = False
        self.refuses(body, "spec", why)
        body["spec"]["runLauncherAsWorker"] = True
        self.taken(body)

    def test_who_manages_it_stays(self):
        kueue = "kueue.x-k8s.io/multikueue"
        why = "runPolicy.managedBy cannot be changed"
        self.create("mpijobs", job("without"))
        body = job("with")
        body["spec"]["runPolicy"] = {"managedBy": kueue}
        self.create("mpijobs", body)
        for name, policy in (("without", {"managedBy": kueue}), ("with", {"managedBy": None}),
                             ("with", {"managedBy": "kubeflow.org/mpi-operator"}),
                             ("with", None)):
            with self.subTest(name=name, policy=policy):
                with self.refused(422, "Invalid", f'spec: Invalid value: "object": {why}'):
                    self.patch("mpijobs", name, {"spec": {"runPolicy": policy}})
        for name, policy in (("without", {"suspend": True}), ("without", {"managedBy": ""}),
                             ("with", {"suspend": True}), ("with", {"managedBy": kueue})):
            with self.subTest(name=name, policy=policy):
                self.patch("mpijobs", name, {"spec": {"runPolicy": policy}})

    def test_updates_keep_the_rules(self):
        self.create("mpijobs", job())
        workers = {"mpiReplicaSpecs": {"Worker": {"replicas": 4}}}
        self.patch("mpijobs", "a", {"spec": workers})
        self.patch("mpijobs", "a", {"status": {"startTime": "2026-01-01T00:00:00Z"}},
                   subresource="status")
        for spec, why in (({"Launcher": {"replicas": 2}}, "there is one Launcher"),
                          ({"Worker": None}, "a job without Worker"),
                          ({"Worker": {"replicas": None}}, "Worker.replicas is missing"),
                          ({"Launcher": None}, "Launcher is missing")):
            with self.subTest(why):
                with self.refused(422, "Invalid", why):
                    self.patch("mpijobs", "a", {"spec": {"mpiReplicaSpecs": spec}})

    def test_a_list_of_replica_types_is_short(self):
        body = job()
        part = body["spec"]["mpiReplicaSpecs"]["Worker"]
        body["spec"]["mpiReplicaSpecs"].update({f"x{n}": part for n in range(7)})
        with self.refused(422, "Invalid", "must have at most 8 items"):
            self.create("mpijobs", body)

    def test_every_rule_is_tested(self):
        """A rule that is added needs its test here."""
        with open(os.path.realpath(__file__), encoding="utf-8") as file:
            words = [node.value for node in ast.walk(ast.parse(file.read()))
                     if isinstance(node, ast.Constant)]
        self.assertEqual(set(), set(messages(self.body)) - set(words))


def messages(body):
    """The messages of all rules below a part of a definition."""
    if isinstance(body, list):
        for inner in body:
            yield from messages(inner)
    elif isinstance(body, dict):
        for rule in body.get("x-kubernetes-validations") or ():
            yield rule["message"]
        for inner in body.values():
            yield from messages(inner)


if __name__ == "__main__":
    unittest.main()
