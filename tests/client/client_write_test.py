#!/usr/bin/env python3
"""Requests and writes of the client: nothing is lost or done twice, whatever becomes of answers."""
import threading
import time
import unittest

import probe as harness
from probe import MAPS, config_map

WHERE = {"version": "v1", "namespace": "default", "plural": "configmaps"}


class Writes(harness.ClientTest):
    """Each against a server of its own."""

    def setUp(self):
        super().setUp()
        self.sim = self.simulation()
        self.client = self.probe(self.sim)

    def fault(self, verb, action, **more):
        """Plants a fault for ConfigMaps."""
        self.sim.control("fault", verb=verb, action=action, **more)

    def owned(self, name, uid):
        """A ConfigMap with an owner."""
        body = config_map(name, count="0")
        body["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]
        return body

    def test_create_whose_answer_is_lost(self):
        uid = self.sim.create("configmaps", config_map("owner"))["metadata"]["uid"]
        self.fault("create", "lost")
        done = self.client.ask("create", **WHERE, object=self.owned("c", uid), owner=uid)
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(done["body"]["metadata"]["name"], "c")
        self.fault("create", "cut")
        done = self.client.ask("create", **WHERE, object=self.owned("d", uid), owner=uid)
        self.assertEqual(done["rc"], 0, done)

    def test_create_what_somebody_else_has(self):
        uid = self.sim.create("configmaps", config_map("owner"))["metadata"]["uid"]
        self.sim.create("configmaps", config_map("c"))
        done = self.client.ask("create", **WHERE, object=self.owned("c", uid), owner=uid)
        self.assertEqual(done["code"], 409)
        self.assertIn("belongs to somebody else", done["why"])
        done = self.client.ask("create", **WHERE, object=config_map("c"))
        self.assertEqual(done["reason"], "AlreadyExists")
        self.assertIn("409 AlreadyExists", done["why"])

    def test_create_without_a_name_is_refused(self):
        number = self.client.start("create", **WHERE, object={"metadata": {"generateName": "x-"}})
        self.assertIn("no metadata.name", self.client.until(number, "refused")["why"])

    def test_edits_of_two_at_once(self):
        self.sim.create("configmaps", config_map("c", count="0"))
        other = self.probe(self.sim, seed=2)
        clients = (self.client, other)
        numbers = [(client, client.start("edit", **WHERE, name="c", add=1))
                   for _ in range(6) for client in clients]
        waiting = []
        for client in clients:
            mine = {number for c, number in numbers if c is client}

            def wait(client=client, mine=mine):
                while mine:
                    line = client.next()
                    if line["event"] == "done":
                        self.assertEqual(line["rc"], 0, line)
                        mine.discard(line["id"])

            waiting.append(threading.Thread(target=wait))
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join()
        self.assertEqual(self.sim.get("configmaps", "c")["data"]["count"], "12")
        conflicts = [r for r in self.sim.requests(verb="patch") if r["code"] == 409]
        self.assertTrue(conflicts)

    def test_edit_whose_answer_is_lost(self):
        self.sim.create("configmaps", config_map("c", count="0"))
        self.fault("patch", "lost")
        done = self.client.ask("edit", **WHERE, name="c", merge={"data": {"x": "1"}})
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(self.sim.get("configmaps", "c")["data"], {"count": "0", "x": "1"})
        before = len(self.sim.requests(verb="patch"))
        done = self.client.ask("edit", **WHERE, name="c", merge={"data": {"x": "1"}})
        self.assertEqual(done["rc"], 0, done)
        done = self.client.ask("edit", **WHERE, name="c", nothing=True)
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(len(self.sim.requests(verb="patch")), before)
        self.assertEqual(self.client.ask("edit", **WHERE, name="none", add=1)["code"], 404)

    def test_edit_of_the_status(self):
        pod = {"version": "v1", "namespace": "default", "plural": "pods"}
        self.sim.create("pods", harness.sim_client.pod("p"))
        done = self.client.ask("edit", **pod, name="p", subresource="status",
                               merge={"status": {"phase": "Running"},
                                      "metadata": {"labels": {"a": "b"}}})
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(self.sim.get("pods", "p")["status"]["phase"], "Running")

    def test_patches(self):
        version = self.sim.create("configmaps", config_map("c"))["metadata"]["resourceVersion"]
        done = self.client.ask("patch", **WHERE, name="c", patch={"data": {"x": "1"}})
        self.assertEqual(done["rc"], 0, done)
        stale = [{"op": "test", "path": "/metadata/resourceVersion", "value": version},
                 {"op": "add", "path": "/data/y", "value": "1"}]
        self.assertNotEqual(
            self.client.ask("patch", **WHERE, name="c", kind="json", patch=stale)["rc"], 0)
        stale[0]["value"] = self.sim.get("configmaps", "c")["metadata"]["resourceVersion"]
        done = self.client.ask("patch", **WHERE, name="c", kind="json", patch=stale)
        self.assertEqual(done["rc"], 0, done)
        stale = {"metadata": {"resourceVersion": version}, "data": {"z": "1"}}
        done = self.client.ask("patch", **WHERE, name="c", patch=stale)
        self.assertEqual((done["code"], done["reason"]), (409, "Conflict"))
        body = self.sim.get("configmaps", "c")
        body["data"] = {"put": "1"}
        self.assertEqual(self.client.ask("replace", **WHERE, name="c", object=body)["rc"], 0)
        self.assertEqual(self.client.ask("replace", **WHERE, name="c", object=body)["code"], 409)

    def test_apply(self):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
                "data": {"x": "1"}}
        done = self.client.ask("apply", **WHERE, name="c", object=body)
        self.assertEqual(done["code"], 201, done)
        done = self.client.ask("apply", **WHERE, name="c", object=body)
        self.assertEqual(done["code"], 200, done)
        body["data"]["x"] = "2"
        done = self.client.ask("apply", **WHERE, name="c", object=body, manager="other")
        self.assertEqual(done["code"], 409, done)
        done = self.client.ask("apply", **WHERE, name="c", object=body, manager="other", force=True)
        self.assertEqual(done["rc"], 0, done)
        request = self.sim.requests(verb="patch")[0]
        self.assertEqual(request["query"]["fieldManager"], "reknit")
        self.assertEqual(request["type"], "application/apply-patch+yaml")

    def test_dry_run(self):
        done = self.client.ask("create", **WHERE, object=config_map("c"), dry_run=True)
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(self.client.get(MAPS + "/c")["code"], 404)
        self.sim.create("configmaps", config_map("c"))
        self.assertEqual(self.client.ask("delete", **WHERE, name="c", dry_run=True)["rc"], 0)
        self.assertEqual(self.client.get(MAPS + "/c")["rc"], 0)

    def test_delete(self):
        uid = self.sim.create("configmaps", config_map("c"))["metadata"]["uid"]
        done = self.client.ask("delete", **WHERE, name="c", uid="another")
        self.assertEqual(done["rc"], 0, done)  # that one is gone
        self.assertEqual(self.client.get(MAPS + "/c")["rc"], 0)
        done = self.client.ask("delete", **WHERE, name="c", uid=uid, resource_version="1")
        self.assertEqual(done["code"], 409, done)
        self.fault("delete", "lost")
        done = self.client.ask("delete", **WHERE, name="c", uid=uid, propagation="Background")
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(self.client.get(MAPS + "/c")["code"], 404)
        self.sim.create("pods", harness.sim_client.pod("p"))
        done = self.client.ask("delete", version="v1", namespace="default", plural="pods",
                               name="p", grace_s=0)
        self.assertEqual(done["rc"], 0, done)
        self.assertEqual(self.client.get("/api/v1/namespaces/default/pods/p")["code"], 404)

    def test_retries(self):
        self.sim.create("configmaps", config_map("c"))
        self.sim.control("fault", faults=[
            {"verb": "get", "action": "status", "code": 429, "retry_after": 1},
            {"verb": "get", "action": "status", "code": 500},
            {"verb": "get", "action": "status", "code": 504},
            {"verb": "get", "action": "close"}, {"verb": "get", "action": "cut"},
            {"verb": "get", "action": "html", "code": 502}])
        start = time.monotonic()
        done = self.client.get(MAPS + "/c")
        self.assertEqual(done["rc"], 0, done)
        self.assertGreaterEqual(time.monotonic() - start, 1)
        self.assertEqual(len(self.sim.requests(verb="get", resource="configmaps")), 7)

    def test_retries_end(self):
        self.fault("get", "status", code=503, count=3)
        done = self.client.get(MAPS + "/c", tries=3)
        self.assertEqual(done["code"], 503)
        self.assertIn("503 ServiceUnavailable", done["why"])
        self.fault("get", "status", code=503, retry_after=90)
        start = time.monotonic()
        done = self.client.get(MAPS + "/c", deadline_ms=3000)
        self.assertEqual(done["code"], 503)
        self.assertLess(time.monotonic() - start, 3)

    def test_silence_and_deadlines(self):
        self.sim.create("configmaps", config_map("c"))
        self.fault("get", "hang")
        self.assertEqual(self.client.get(MAPS + "/c", silence_ms=500)["rc"], 0)
        self.fault("get", "hang", count=5)
        done = self.client.get(MAPS + "/c", deadline_ms=1000)
        self.assertEqual(done["code"], 0)
        self.assertIn("not done within 1000 ms", done["why"])

    def test_answers_have_a_limit(self):
        self.sim.create("configmaps", config_map("c", x="y" * 100_000))
        done = self.client.get(MAPS + "/c", most=50_000)
        self.assertIn("longer than 50000 bytes", done["why"])

    def test_cancel(self):
        self.fault("get", "delay", seconds=1, count=2)
        first = self.client.start("request", verb="GET", path=MAPS + "/c")
        self.client.until(self.client.start("cancel", of=first), "closed")
        second = self.client.start("request", verb="GET", path=MAPS + "/c")
        self.in_time(lambda: self.sim.requests(verb="get", resource="configmaps"), "the request")
        self.client.until(self.client.start("cancel", of=second), "closed")
        self.assertEqual(self.client.get("/version")["rc"], 0)
        self.assertEqual(self.client.events(first, "done") + self.client.events(second, "done"), [])

    def test_throttle(self):
        fast = self.probe(self.sim, rate=20, burst=5)
        start = time.monotonic()
        for _ in range(24):
            fast.start("request", verb="GET", path="/version")
        for _ in range(24):
            self.assertEqual(fast.next()["rc"], 0)
        self.assertGreaterEqual(time.monotonic() - start, 0.9)

    def test_thousand_at_once(self):
        quick = self.probe(self.sim, rate=5000, burst=1000)
        for i in range(1000):
            quick.start("create", **WHERE, object=config_map(f"m{i}"))
        for _ in range(1000):
            self.assertEqual(quick.next()["rc"], 0)
        self.assertLessEqual(self.sim.control("state")["connections"], 70)
        self.assertEqual(len(self.sim.requests(verb="create", agent="probe/1")), 1000)


class Notices(harness.ClientTest):
    """Events of the API."""

    def test_events_are_aggregated(self):
        sim = self.simulation()
        client = self.probe(sim)
        body = sim.create("configmaps", config_map("c"))
        client.start("notice", object=body, reason="Started", action="Start", note="a\u00e4" * 600)
        client.start("notice", object=body, reason="Lost", action="Watch", note="gone", times=30,
                     warning=True)
        path = "/apis/events.k8s.io/v1/namespaces/default/events"

        def found():
            return {e["reason"]: e for e in sim.ask("GET", path)["items"]}

        self.in_time(lambda: len(found()) == 2, "two events")
        self.assertEqual(len(found()["Started"]["note"].encode()), 1024)
        self.assertEqual(found()["Started"]["regarding"]["uid"], body["metadata"]["uid"])
        self.assertEqual(found()["Lost"]["type"], "Warning")
        self.assertEqual(found()["Lost"]["series"]["count"], 30)
        self.assertEqual(len(sim.requests(verb="create", resource="events")), 2)
        client.start("notice", object=body, reason="Lost", action="Watch", note="gone",
                     warning=True)
        self.in_time(lambda: found()["Lost"]["series"]["count"] == 31, "the series counts")
        self.assertEqual(len(found()), 2)
        self.assertEqual([line for line in client.seen if line["event"] == "trouble"], [])


class Elections(harness.ClientTest):
    """Leading by a lease."""

    RULES = {"namespace": "default", "name": "lead", "duration_ms": 3000, "renew_ms": 2000,
             "retry_ms": 300}

    def test_one_leads_and_another_follows(self):
        sim = self.simulation()
        first, second = self.probe(sim), self.probe(sim, seed=2)
        one = first.start("lease", identity="one", **self.RULES)
        first.until(one, "leading")
        two = second.start("lease", identity="two", **self.RULES)
        self.in_time(lambda: len(sim.requests(verb="update", resource="leases")) > 5, "renewals")
        self.assertEqual(second.events(two, "leading"), [])
        first.start("step_down", of=one)
        first.until(one, "following")
        first.until(one, "gone")
        second.until(two, "leading", deadline=5)
        lease = sim.get("leases", "lead")
        self.assertEqual(lease["spec"]["holderIdentity"], "two")
        self.assertRegex(lease["spec"]["renewTime"], r"\.\d{6}Z$")

    def test_a_leader_that_hears_nothing_stops(self):
        sim = self.simulation()
        first, second = self.probe(sim), self.probe(sim, seed=2)
        one = first.start("lease", identity="one", **self.RULES)
        first.until(one, "leading")
        sim.control("fault", resource="leases", action="status", code=503, count=200)
        first.until(one, "following")
        two = second.start("lease", identity="two", **self.RULES)
        sim.control("faults_clear")
        while not (first.events(one, "leading")[1:] or second.events(two, "leading")):
            for client in (first, second):
                while not client.lines.empty():
                    client.next()
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main(verbosity=2)
