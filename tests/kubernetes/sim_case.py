"""What the tests of the simulated API server stand on."""
import contextlib
import unittest

import sim_client
from sim_client import Refused


class Case(unittest.TestCase):
    """A test with one server for all its methods; each gets a namespace of its own."""

    ARGUMENTS = ()
    number = 0

    @classmethod
    def setUpClass(cls):
        cls.sim = sim_client.Simulation(*cls.ARGUMENTS)

    @classmethod
    def tearDownClass(cls):
        cls.sim.stop()

    def setUp(self):
        Case.number += 1
        self.space = f"n{Case.number}"
        self.sim.create("namespaces", {"metadata": {"name": self.space}}, "")

    def tearDown(self):
        self.assertEqual([], self.sim.control("state")["errors"])

    @contextlib.contextmanager
    def refused(self, code, reason=None, text=""):
        """Expects a refusal; the Refused stands in the list that is given."""
        found = []
        with self.assertRaises(Refused) as caught:
            yield found
        found.append(caught.exception)
        self.assertEqual(code, caught.exception.code, caught.exception)
        if reason:
            self.assertEqual(reason, caught.exception.reason)
        self.assertIn(text, str(caught.exception))

    def create(self, resource, body, **query):
        return self.sim.create(resource, body, self.space, **query)

    def get(self, resource, name):
        return self.sim.get(resource, name, self.space)

    def list(self, resource, **query):
        return self.sim.list(resource, self.space, **query)

    def patch(self, resource, name, body, kind="merge", **more):
        return self.sim.patch(resource, name, body, kind, self.space, **more)

    def delete(self, resource, name, **options):
        return self.sim.delete(resource, name, self.space, **options)

    def watch(self, resource, **query):
        return self.sim.watch(resource, self.space, **query)

    def version(self, resource="configmaps"):
        return self.list(resource)["metadata"]["resourceVersion"]

    def names(self, resource, **query):
        return [i["metadata"]["name"] for i in self.list(resource, **query)["items"]]
