#!/usr/bin/env python3
"""The operator where things go wrong: it is killed, another leads, the server refuses, jobs are not
valid, objects are another's."""
import random
import time
import unittest

from operator_case import OperatorCase, mpijob
from sim_client import wait_for

SEED = 11


class Faulty(OperatorCase):
    """Jobs that are not valid, and servers that say no."""

    def test_not_valid(self):
        body = mpijob("a")
        body["spec"]["slotsPerWorker"] = -4
        body["spec"]["launcherCreationPolicy"] = "Bogus"
        self.create("mpijobs", body)
        found = self.becomes("a", "Failed")
        self.assertEqual("ValidationError", found["reason"])
        self.assertIn("spec.slotsPerWorker: ", found["message"])
        self.assertIn("and 1 more", found["message"])
        self.assertEqual(found["message"], self.told("ValidationError"))
        self.assertEqual([], self.names("jobs"))
        self.edit("a", slotsPerWorker=1, launcherCreationPolicy="AtStartup")
        self.becomes("a", "Failed", "False")
        self.launcher("a")
        self.assertNotIn("completionTime", self.status("a"))

    def test_an_edit_that_is_not_valid(self):
        self.run_job("a")
        self.edit("a", launcherCreationPolicy="Bogus")
        self.assertIn("launcherCreationPolicy", self.told("ValidationError"))
        self.assertEqual("True", self.condition("a", "Running")["status"])
        self.assertIn("not valid", self.condition("a", "Created")["message"])
        self.suspend("a")
        wait_for(lambda: not self.pods("a"), "no pod")
        self.edit("a", launcherCreationPolicy="AtStartup", runPolicy={"suspend": False})
        self.becomes("a", "Suspended", "False")
        wait_for(lambda: self.pods("a", "launcher"), "a coordinator")

    def test_who_manages(self):
        for name, manager in (("ours", "reknit.dev/operator"), ("old", "kubeflow.org/mpi-operator"),
                              ("far", "kueue.x-k8s.io/multikueue")):
            self.submit(name, managedBy=manager)
        self.launcher("ours")
        self.launcher("old")
        time.sleep(0.5)
        self.assertNotIn("far-launcher", self.names("jobs"))
        self.assertEqual({}, self.status("far"))

    def test_another_ones_object(self):
        self.create("services", {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
        self.submit("a")
        self.assertIn("an object named as one of this job's", self.told("ErrResourceExists"))
        self.delete("services", "a")
        wait_for(lambda: self.has("services", "a"), "the job's Service")
        self.becomes("a", "Created")

    def test_refusals(self):
        self.sim.control("fault", verb="create", resource="jobs", action="status", code=429,
                         retry_after=1, count=2)
        self.sim.control("fault", verb="patch", resource="mpijobs", action="status", code=500,
                         count=3)
        self.sim.control("fault", verb="create", resource="services", action="lost")
        self.run_job("a")
        self.assertEqual(1, len(self.list("jobs")["items"]))


class Beside(OperatorCase):
    """With mpi-operator in the same cluster."""

    OPERATOR = ("--leader-elect", "no", "--beside-mpi-operator")

    def test_only_what_is_ours(self):
        self.submit("none")
        self.submit("old", managedBy="kubeflow.org/mpi-operator")
        self.submit("ours", managedBy="reknit.dev/operator")
        self.launcher("ours")
        time.sleep(0.5)
        self.assertEqual(["ours-launcher"], self.names("jobs"))
        self.assertEqual({}, self.status("none"))


class Leaders(OperatorCase):
    """Two operators, of which one acts."""

    OPERATOR = ()

    def test_the_leader_is_killed(self):
        first = self.start_operator()
        wait_for(first.leads, "the first leads")
        second = self.start_operator()
        self.run_job("a")
        self.assertFalse(second.leads())
        self.kill_operator(first)
        self.submit("b")
        wait_for(second.leads, "the second leads", 40)
        self.workers("b")
        self.becomes("b", "Running")
        self.assertEqual("True", self.condition("a", "Running")["status"])
        self.assertEqual(1, len(self.notes("MPIJobCreated")) - 1)

    def test_the_leader_leaves(self):
        first = self.start_operator()
        wait_for(first.leads, "the first leads")
        second = self.start_operator()
        self.operators.remove(first)
        self.assertEqual(0, first.stop())
        wait_for(second.leads, "the second need not wait for the lease to end", 10)


class Killed(OperatorCase):
    """An operator that ends at any point, and those after it, come to the same objects."""

    OPERATOR = ()
    NAMES = tuple(f"k{n}" for n in range(8))

    def all_done(self):
        for name in self.NAMES:
            conditions = {c["type"]: c["status"] for c in self.status(name).get("conditions", [])}
            if "True" not in (conditions.get("Succeeded"), conditions.get("Failed"),
                              conditions.get("Suspended")):
                return False
            if any(c["active"] for c in self.status(name)["replicaStatuses"].values()):
                return False
        return True

    def shape(self):
        """What there is, without what differs from run to run."""
        found = {}
        for resource in ("jobs", "services", "configmaps", "secrets"):
            for item in self.list(resource)["items"]:
                name = item["metadata"]["name"]
                if name[0] == "k" and name[1].isdigit():
                    found[resource, name] = (item["metadata"].get("annotations"),
                                             item["metadata"]["labels"], item.get("data")
                                             if resource == "configmaps" else None)
        for name in self.NAMES:
            found["status", name] = [(c["type"], c["status"], c["reason"]) for c in sorted(
                self.status(name)["conditions"], key=lambda c: c["type"])]
        return found

    def play(self, kills):
        """Eight jobs, of which some end, some are suspended, some resumed; then their shape."""
        chance = random.Random(SEED + kills)
        self.plan(name="k[0-5]-launcher-*", run=40)
        operator = self.start_operator("--leader-elect", "no")
        for number, name in enumerate(self.NAMES):
            self.submit(name, suspend=number in (2, 3), cleanPodPolicy="All" if number % 2
                        else "None", backoffLimit=0)
        turns = [lambda: self.suspend("k2", False), lambda: self.suspend("k3", False),
                 lambda: self.suspend("k6"), lambda: self.suspend("k7")]
        for turn in range(max(kills, len(turns))):
            if turn < kills:
                time.sleep(chance.random() * 0.25)
                self.kill_operator(operator)
                operator = self.start_operator("--leader-elect", "no")
            if turn < len(turns):
                self.launcher("k6")
                self.launcher("k7")
                turns[turn]()
        wait_for(self.all_done, "all jobs are over or suspended", 60)
        found = self.shape()
        self.kill_operator(operator)
        return found

    def test_the_same_objects(self):
        calm = self.play(0)
        for name in self.NAMES:
            self.delete("mpijobs", name)
        wait_for(lambda: not self.list("jobs")["items"] and not any(
            n.startswith("k") and n[1].isdigit() for n in self.names("configmaps")), "all is gone")
        shaken = self.play(25)
        # a job may have been seen to run, or to be on its way, or not: that is not an object
        for found in (calm, shaken):
            for key, value in found.items():
                if key[0] == "status":
                    found[key] = [c for c in value if c[1] == "True"]
                elif key[0] == "configmaps":
                    found[key] = (value[0], value[1], sorted(value[2]))
        self.maxDiff = None
        self.assertEqual(calm, shaken)


if __name__ == "__main__":
    unittest.main()
