#!/usr/bin/env python3
"""Lists, watches and injected faults of the simulated API server."""
import http.client
import unittest

import sim_client
from sim_case import Case
from sim_client import config_map, path_of, pod, wait_for


class Lists(Case):
    """Selectors and pages."""

    def fill(self, count=7):
        for number in range(count):
            body = config_map(f"c{number}", n="0")
            body["metadata"]["labels"] = {"n": str(number), "even": str(number % 2 == 0)}
            self.create("configmaps", body)

    def test_labels(self):
        self.fill(4)
        for selector, wanted in (("even=True", "c0 c2"), ("n in (1,3),even!=True", "c1 c3"),
                                 ("n notin (0),n", "c1 c2 c3"), ("!n", "kube-root-ca.crt"),
                                 ("n==2", "c2")):
            self.assertEqual(wanted.split(), self.names("configmaps", labelSelector=selector))
        with self.refused(400, "BadRequest", "unable to parse"):
            self.list("configmaps", labelSelector="a=(")

    def test_fields(self):
        self.create("pods", pod("a", nodeName="n1"))
        self.create("pods", pod("b"))
        self.assertEqual(["a"], self.names("pods", fieldSelector="spec.nodeName=n1"))
        self.assertEqual(["b"], self.names("pods", fieldSelector="metadata.name!=a"))
        self.assertEqual(["a", "b"], self.names("pods", fieldSelector="status.phase=Pending"))
        with self.refused(400, "BadRequest", "field label not supported"):
            self.list("pods", fieldSelector="spec.image=x")

    def test_pages_are_of_one_version(self):
        self.fill()
        first = self.list("configmaps", limit=3)
        self.assertEqual(5, first["metadata"]["remainingItemCount"])
        self.delete("configmaps", "c4")
        self.create("configmaps", config_map("c9"))
        second = self.list("configmaps", limit=3, continue_=first["metadata"]["continue"])
        third = self.list("configmaps", limit=3, continue_=second["metadata"]["continue"])
        self.assertEqual(first["metadata"]["resourceVersion"],
                         third["metadata"]["resourceVersion"])
        names = [i["metadata"]["name"] for page in (first, second, third) for i in page["items"]]
        self.assertEqual([f"c{n}" for n in range(7)] + ["kube-root-ca.crt"], names)
        self.assertNotIn("continue", third["metadata"])

    def test_a_page_may_be_lost(self):
        self.fill()
        token = self.list("configmaps", limit=3)["metadata"]["continue"]
        self.create("configmaps", config_map("d"))
        self.sim.control("compact")
        with self.refused(410, "Expired", "inconsistent list") as found:
            self.list("configmaps", limit=3, continue_=token)
        rest = self.list("configmaps", continue_=found[0].status["metadata"]["continue"])
        self.assertEqual("c3 c4 c5 c6 d kube-root-ca.crt".split(),
                         [i["metadata"]["name"] for i in rest["items"]])

    def test_versions(self):
        self.fill(2)
        old = self.version()
        self.delete("configmaps", "c0")
        exact = {"resourceVersion": old, "resourceVersionMatch": "Exact"}
        self.assertIn("c0", self.names("configmaps", **exact))
        self.assertNotIn("c0", self.names("configmaps", resourceVersion=old))
        self.assertEqual(2, len(self.names("configmaps", resourceVersion="0", limit=1)))
        with self.refused(504, "Timeout", "Too large resource version") as found:
            self.list("configmaps", resourceVersion="999999999")
        self.assertEqual("1", found[0].headers["Retry-After"])
        self.assertEqual("ResourceVersionTooLarge",
                         found[0].status["details"]["causes"][0]["reason"])
        self.sim.control("compact")
        with self.refused(410, "Expired"):
            self.list("configmaps", **exact)


class Watches(Case):
    """Events, bookmarks, ends."""

    def test_events_in_order(self):
        with self.watch("configmaps", resourceVersion=self.version()) as watch:
            made = self.create("configmaps", config_map("a", k="1"))
            self.patch("configmaps", "a", {"data": {"k": "2"}})
            self.delete("configmaps", "a")
            events = [watch.next() for _ in range(3)]
        self.assertEqual(["ADDED", "MODIFIED", "DELETED"], [e["type"] for e in events])
        self.assertEqual(made, events[0]["object"])
        versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
        self.assertEqual(sorted(set(versions)), versions)

    def test_from_the_past(self):
        version = self.version()
        self.create("configmaps", config_map("a"))
        self.create("configmaps", config_map("b"))
        with self.watch("configmaps", resourceVersion=version) as watch:
            self.assertEqual(["a", "b"], [watch.next()["object"]["metadata"]["name"]
                                          for _ in range(2)])
        with self.watch("configmaps", resourceVersion="0") as watch:
            self.assertEqual({"a", "b", "kube-root-ca.crt"},
                             {watch.next()["object"]["metadata"]["name"] for _ in range(3)})

    def test_in_and_out_of_sight(self):
        with self.watch("configmaps", labelSelector="x=1",
                        resourceVersion=self.version()) as watch:
            self.create("configmaps", config_map("a"))
            for value in ("1", "1", "2"):
                self.patch("configmaps", "a", {"metadata": {"labels": {"x": value}},
                                               "data": {"k": value}})
                self.patch("configmaps", "a", {"data": {"j": value}})
            events = [watch.next() for _ in range(3)]
        self.assertEqual(["ADDED", "MODIFIED", "DELETED"], [e["type"] for e in events])
        self.assertEqual("1", events[2]["object"]["metadata"]["labels"]["x"])

    def test_end_by_time(self):
        with self.watch("configmaps", resourceVersion=self.version(), timeoutSeconds=1) as watch:
            self.assertEqual([], watch.rest())

    def test_compaction(self):
        version = self.version()
        self.create("configmaps", config_map("a"))
        with self.watch("configmaps", resourceVersion=self.version()) as running:
            self.sim.control("compact")
            with self.watch("configmaps", resourceVersion=version) as watch:
                event, *rest = watch.rest()
            self.create("configmaps", config_map("b"))
            self.assertEqual("b", running.next()["object"]["metadata"]["name"])
        self.assertEqual(("ERROR", 410, "Expired", []), (
            event["type"], event["object"]["code"], event["object"]["reason"], rest))

    def test_history_is_finite(self):
        with sim_client.Simulation("--history", 20) as sim:
            version = sim.list("configmaps")["metadata"]["resourceVersion"]
            for number in range(40):
                sim.create("configmaps", config_map(f"c{number}"))
            with sim.watch("configmaps", resourceVersion=version) as watch:
                self.assertEqual("ERROR", watch.next()["type"])

    def test_bookmarks(self):
        with sim_client.Simulation("--bookmark-seconds", 0.05) as sim:
            sim.create("namespaces", {"metadata": {"name": "other"}}, "")
            version = sim.list("configmaps")["metadata"]["resourceVersion"]
            with sim.watch("configmaps", resourceVersion=version,
                           allowWatchBookmarks="true") as watch:
                sim.create("configmaps", config_map("x"), "other")
                event = watch.until(lambda e: e["object"]["metadata"]["resourceVersion"] != version)
            self.assertEqual(("BOOKMARK", "ConfigMap"), (event["type"], event["object"]["kind"]))

    def test_initial_events(self):
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan",
                 "allowWatchBookmarks": "true"}
        with self.refused(422, "Invalid", "WatchList feature gate"):
            self.watch("configmaps", **query)
        with sim_client.Simulation("--version", "1.32") as sim:
            sim.create("configmaps", config_map("a"))
            with sim.watch("configmaps", **query) as watch:
                events = [watch.next() for _ in range(3)]
            self.assertEqual(["ADDED", "ADDED", "BOOKMARK"], [e["type"] for e in events])
            self.assertEqual("true", events[2]["object"]["metadata"]["annotations"][
                "k8s.io/initial-events-end"])

    def test_many_pods_many_watchers(self):
        watches = [self.watch("pods", resourceVersion=self.version(), timeout=60)
                   for _ in range(8)]
        for number in range(300):
            self.create("pods", pod(f"p{number}"))
        for watch in watches:
            names = [watch.next()["object"]["metadata"]["name"] for _ in range(300)]
            self.assertEqual([f"p{n}" for n in range(300)], names)
            watch.close()
        wait_for(lambda: self.sim.control("state")["watches"]["pods"] == 0, "watches end")


class Faults(Case):
    """What the control port spoils."""

    def tearDown(self):
        self.sim.control("faults/clear")
        super().tearDown()

    def test_status(self):
        self.sim.control("fault", verb="list", resource="configmaps", action="status", code=429,
                         retry_after=1, count=2)
        for _ in range(2):
            with self.refused(429, "TooManyRequests") as found:
                self.list("configmaps")
            self.assertEqual("1", found[0].headers["Retry-After"])
        self.list("configmaps")
        self.sim.control("fault", action="too_large", verb="list")
        with self.refused(504, "Timeout"):
            self.list("configmaps")
        self.sim.control("fault", action="html", code=502)
        with self.refused(502):
            self.list("configmaps")

    def test_skip_and_scope(self):
        self.sim.control("fault", verb="create", resource="configmaps", skip=1, action="status",
                         code=500, namespace=self.space)
        self.create("configmaps", config_map("a"))
        self.create("secrets", {"metadata": {"name": "s"}})
        with self.refused(500):
            self.create("configmaps", config_map("b"))

    def test_connection_faults(self):
        for action, done in (("close", False), ("lost", True), ("cut", True)):
            self.sim.control("fault", verb="create", action=action)
            with self.assertRaises((http.client.HTTPException, OSError)):
                self.create("configmaps", config_map(action))
            self.assertEqual(done, action in self.names("configmaps"))

    def test_hang_and_delay(self):
        self.sim.control("fault", verb="get", action="hang")
        with self.assertRaises(TimeoutError):
            self.sim.send("GET", path_of("configmaps", self.space, "a"), fresh=True, timeout=0.2)
        self.sim.control("fault", verb="list", action="delay", seconds=0.05)
        self.list("configmaps")

    def test_watch_faults(self):
        self.sim.control("fault", verb="watch", action="expired")
        with self.watch("configmaps", resourceVersion=self.version()) as watch:
            self.assertEqual(410, watch.next()["object"]["code"])
            self.assertIsNone(watch.next())
        with self.watch("configmaps", resourceVersion=self.version()) as watch:
            self.sim.control("line", key="configmaps", line='{"type":"ODD","object":{}}')
            self.assertEqual("ODD", watch.next()["type"])
            self.sim.control("expire", key="configmaps")
            self.assertEqual("ERROR", watch.next()["type"])
        with self.watch("configmaps", resourceVersion=self.version()) as watch:
            self.sim.control("cut")
            self.assertIsNone(watch.next())
        for reset in (False, True):
            with self.watch("configmaps", resourceVersion=self.version()) as watch:
                self.sim.control("cut", what="connections", reset=reset)
                with self.assertRaises((http.client.HTTPException, OSError)):
                    watch.answer.read()
            self.sim.connections.pop(self.sim.url).close()

    def test_stall(self):
        with self.watch("configmaps", resourceVersion=self.version(), timeout=0.3) as watch:
            self.sim.control("stall")
            with self.assertRaises(TimeoutError):
                self.sim.send("POST", path_of("configmaps", self.space), config_map("a"),
                              fresh=True, timeout=0.2)
            with self.assertRaises(TimeoutError):
                watch.next()
            self.sim.control("stall", on=False)
        wait_for(lambda: "a" in self.names("configmaps"), "what was sent is done")

    def test_slow(self):
        self.sim.control("slow", piece=7, pause=0.0)
        self.create("configmaps", config_map("a"))
        self.assertIn("a", self.names("configmaps"))
        self.sim.control("slow")

    def test_restart_keeps_the_store(self):
        version = self.version()
        self.create("configmaps", config_map("a"))
        self.sim.control("stop")
        with self.assertRaises(OSError):
            self.list("configmaps")
        self.sim.control("start")
        self.assertIn("a", self.names("configmaps"))
        with self.watch("configmaps", resourceVersion=version) as watch:
            self.assertEqual("ERROR", watch.next()["type"])

    def test_journal(self):
        since = self.sim.control("state")["requests"]
        self.create("configmaps", config_map("a"))
        self.create("pods", {"metadata": {"generateName": "p-"}, "spec": pod("x")["spec"]})
        with self.refused(409):
            self.create("configmaps", config_map("a"))
        made = self.sim.requests(verb="create", resource="configmaps", since=since)
        self.assertEqual([("a", 201), ("a", 409)], [(e["name"], e["code"]) for e in made])
        self.assertEqual("sim-test/1", made[0]["agent"])


if __name__ == "__main__":
    unittest.main()
