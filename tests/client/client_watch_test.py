#!/usr/bin/env python3
"""Watches of the client against a server that fails in every way that is known of real ones."""
import json
import time
import unittest

import probe as harness
from probe import MAPS, config_map


class Watches(harness.ClientTest):
    """Each test ends with the store equal to the server's list."""

    def setUp(self):
        super().setUp()
        self.sim = self.simulation()
        self.sim.delete("configmaps", "kube-root-ca.crt")
        for i in range(5):
            self.sim.create("configmaps", config_map(f"a{i}", x="1"))
        self.client = self.probe(self.sim)

    def follow(self, **more):
        """A watch that has its first list, and whose stream the server has open."""
        number = self.client.watch(**more)
        self.agree(self.client, number, self.sim)
        self.in_time(lambda: self.sim.control("state")["watches"].get("configmaps"), "a stream")
        return number

    def change(self):
        """One of each kind of change."""
        self.sim.create("configmaps", config_map("new", x="1"))
        self.sim.patch("configmaps", "a1", {"data": {"x": "2"}})
        self.sim.delete("configmaps", "a2")

    def test_changes_are_followed(self):
        watch = self.follow()
        self.change()
        self.assertTrue(self.client.until(watch, "upsert", name="new")["new"])
        self.assertFalse(self.client.until(watch, "upsert", name="a1")["new"])
        self.client.until(watch, "delete", name="a2")
        self.agree(self.client, watch, self.sim)
        self.assertEqual(len(self.client.events(watch, "begin_relist")), 1)

    def test_pages_and_selectors(self):
        body = config_map("labelled", x="1")
        body["metadata"]["labels"] = {"a.b/c": "d"}
        self.sim.create("configmaps", body)
        watch = self.follow(page=2)
        pages = [r for r in self.sim.requests(verb="list") if r["query"].get("limit") == "2"]
        self.assertGreaterEqual(len(pages), 3)
        chosen = self.client.watch(labels="a.b/c=d,a.b/c!=e")
        self.assertEqual(list(self.client.store(chosen)), ["default/labelled"])
        self.change()
        self.agree(self.client, watch, self.sim)

    def test_streams_that_end_are_taken_up(self):
        watch = self.follow(least_s=60, most_s=60)
        for round_ in range(4):
            self.sim.control("cut", what="watches" if round_ % 2 else "connections")
            self.sim.create("configmaps", config_map(f"r{round_}", x="1"))
            self.client.until(watch, "upsert", name=f"r{round_}")
        self.agree(self.client, watch, self.sim)
        self.assertEqual(len(self.client.events(watch, "begin_relist")), 1)

    def test_streams_that_time_out_are_taken_up(self):
        watch = self.follow(least_s=1, most_s=1)
        before = len(self.sim.requests(verb="watch"))
        self.in_time(lambda: len(self.sim.requests(verb="watch")) >= before + 3, "new streams")
        self.change()
        self.client.until(watch, "delete", name="a2")
        self.agree(self.client, watch, self.sim)
        self.assertEqual(len(self.client.events(watch, "begin_relist")), 1)
        self.assertEqual(self.client.events(watch, "trouble"), [])

    def test_410_in_the_stream(self):
        watch = self.follow(least_s=60, most_s=60)
        self.sim.control("fault", verb="watch", action="hang")
        self.sim.control("cut", what="watches")
        self.in_time(lambda: not self.sim.control("state")["faults"], "the watch hangs")
        self.change()
        self.sim.control("compact")
        self.sim.control("cut", what="connections")
        self.client.until(watch, "begin_relist")
        self.client.until(watch, "delete", name="a2")
        self.client.until(watch, "end_relist")
        self.agree(self.client, watch, self.sim)

    def test_410_sent_into_an_open_stream(self):
        watch = self.follow(least_s=60, most_s=60)
        self.sim.control("expire")
        self.client.until(watch, "begin_relist")
        self.client.until(watch, "end_relist")
        self.change()
        self.client.until(watch, "delete", name="a2")
        self.agree(self.client, watch, self.sim)

    def test_410_as_the_answer(self):
        watch = self.follow(least_s=60, most_s=60)
        self.sim.control("fault", verb="watch", action="status", code=410)
        self.sim.control("cut", what="watches")
        self.client.until(watch, "end_relist")
        self.change()
        self.client.until(watch, "delete", name="a2")
        self.agree(self.client, watch, self.sim)

    def test_continue_expires(self):
        self.sim.control("fault", verb="list", action="expired", skip=1)
        watch = self.client.start("watch", path=MAPS, page=2, **harness.FAST)
        self.client.until(watch, "end_relist")
        self.assertEqual(len(self.client.events(watch, "begin_relist")), 2)
        self.assertEqual(len(self.client.events(watch, "upsert")), 5)  # each once
        self.agree(self.client, watch, self.sim)

    def test_continue_that_always_expires(self):
        self.sim.control("config", continue_seconds=0)
        watch = self.client.start("watch", path=MAPS, page=2, **harness.FAST)
        self.client.until(watch, "end_relist")
        self.assertEqual(len(self.client.events(watch, "upsert")), 5)
        self.assertEqual(self.client.events(watch, "trouble"), [])
        self.agree(self.client, watch, self.sim)

    def test_half_open_connection(self):
        watch = self.follow(least_s=1, most_s=1)
        self.sim.control("stall", on=True)
        before = len(self.sim.requests(verb="watch"))
        self.in_time(lambda: len(self.sim.requests(verb="watch")) >= before + 2,
                     "a silent stream is given up")
        self.sim.control("stall", on=False)
        self.change()
        self.client.until(watch, "delete", name="a2")
        self.agree(self.client, watch, self.sim)

    def test_429_and_5xx_at_the_start(self):
        self.sim.control("fault", faults=[
            {"verb": "list", "action": "status", "code": 429, "retry_after": 1},
            {"verb": "list", "action": "status", "code": 503},
            {"verb": "watch", "action": "status", "code": 429, "retry_after": 1},
            {"verb": "watch", "action": "status", "code": 500}])
        start = time.monotonic()
        watch = self.client.watch()
        self.assertGreaterEqual(time.monotonic() - start, 1)
        self.client.until(watch, "trouble", code=429)
        self.client.until(watch, "trouble", code=500)
        self.change()
        self.client.until(watch, "delete", name="a2")
        self.agree(self.client, watch, self.sim)
        self.assertEqual(len(self.client.events(watch, "begin_relist")), 1)

    def test_504_version_too_large(self):
        watch = self.follow(least_s=60, most_s=60)
        self.sim.control("fault", faults=[{"verb": "list", "action": "too_large", "count": 3}])
        self.sim.control("expire")
        self.client.until(watch, "end_relist", deadline=60)
        lists = self.sim.requests(verb="list", resource="configmaps", agent="probe/1")
        self.assertEqual(lists[-2]["query"]["resourceVersionMatch"], "NotOlderThan")
        self.assertNotIn("resourceVersion", lists[-1]["query"])
        self.change()
        self.client.until(watch, "delete", name="a2")
        self.agree(self.client, watch, self.sim)

    def test_lists_that_are_cut_off(self):
        self.sim.control("fault", faults=[{"verb": "list", "action": "cut", "count": 2},
                                          {"verb": "list", "action": "html", "code": 200},
                                          {"verb": "list", "action": "close"}])
        watch = self.client.watch()
        self.agree(self.client, watch, self.sim)

    def test_lines_that_are_no_events(self):
        for line in ('{"type":"ADDED","object":{"metadata":', "null", '{"type":"ADDED"}',
                     '{"type":"OTHER","object":{}}', '{"type":"ADDED","object":{"metadata":{}}}'):
            watch = self.follow(least_s=60, most_s=60)
            self.in_time(lambda: self.sim.control("state")["watches"]["configmaps"], "a watch")
            self.sim.control("line", key="configmaps", line=line)
            self.client.until(watch, "trouble")
            self.client.until(watch, "end_relist")
            self.agree(self.client, watch, self.sim)
            self.client.until(self.client.start("close", of=watch), "closed")
            self.in_time(lambda: not self.sim.control("state")["watches"]["configmaps"], "no watch")

    def test_events_byte_by_byte(self):
        watch = self.follow(least_s=60, most_s=60)
        self.sim.control("slow", piece=1, pause=0)
        self.change()
        self.client.until(watch, "delete", name="a2")
        self.sim.control("slow", piece=0)
        self.agree(self.client, watch, self.sim)
        self.assertEqual(self.client.events(watch, "trouble"), [])

    def test_large_events(self):
        watch = self.follow(least_s=60, most_s=60)
        self.sim.create("configmaps", config_map("large", x="y" * 1_040_000))
        self.client.until(watch, "upsert", name="large")
        self.agree(self.client, watch, self.sim)
        small = self.client.watch(longest=500_000, least_s=60, most_s=60)
        self.sim.patch("configmaps", "large", {"data": {"z": "1"}})
        trouble = self.client.until(small, "trouble")
        self.assertIn("longer than 500000 bytes", trouble["why"])
        self.client.until(small, "end_relist")
        self.agree(self.client, small, self.sim)

    def test_pages_that_are_too_large_are_halved(self):
        for i in range(8):
            self.sim.create("configmaps", config_map(f"big{i}", x="y" * 50_000))
        watch = self.client.watch(page=20, page_most=150_000)
        self.agree(self.client, watch, self.sim)
        self.assertEqual(len(self.client.store(watch)), 13)
        self.assertEqual(self.client.events(watch, "trouble"), [])

    def test_names_that_are_used_again(self):
        watch = self.follow(least_s=60, most_s=60)
        uid = self.sim.get("configmaps", "a3")["metadata"]["uid"]
        self.sim.control("fault", verb="watch", action="hang")
        self.sim.control("cut", what="watches")
        self.in_time(lambda: not self.sim.control("state")["faults"], "the watch hangs")
        self.sim.delete("configmaps", "a3")
        self.sim.create("configmaps", config_map("a3", x="again"))
        self.sim.control("compact")
        self.sim.control("cut", what="connections")
        self.client.until(watch, "delete", name="a3", uid=uid)
        self.assertTrue(self.client.until(watch, "upsert", name="a3")["new"])
        self.agree(self.client, watch, self.sim)

    def test_server_restarts(self):
        watch = self.follow(least_s=60, most_s=60)
        for _ in range(3):
            self.sim.control("restart", down=0.3)
            self.sim.create("configmaps", {"metadata": {"generateName": "after-"}, "data": {}},
                            namespace="default")
            self.agree(self.client, watch, self.sim)

    def test_closed_from_a_callback(self):
        for where in ("a2", "late"):
            watch = self.client.start("watch", path=MAPS, close_on=where, **harness.FAST)
            if where == "late":
                self.client.until(watch, "end_relist")
                self.sim.create("configmaps", config_map("late", x="1"))
            self.client.until(watch, "closed")
        self.in_time(lambda: not self.sim.control("state")["watches"].get("configmaps"),
                     "the streams are closed")

    def test_objects_with_zero_bytes(self):
        watch = self.follow()
        self.sim.create("configmaps", config_map("zero", x="a\0b"))
        self.client.until(watch, "upsert", name="zero")
        self.agree(self.client, watch, self.sim)


class RawWatches(harness.ClientTest):
    """What only a server of a few bytes does."""

    def serve(self, function):
        """A raw server and a probe that talks to it."""
        server = harness.RawServer(function)
        self.addCleanup(server.stop)
        return server, self.probe(kubeconfig=server.kubeconfig(self.path("raw")))

    def test_streams_that_end_at_once_are_not_hammered(self):

        def serve(connection, request, number):
            del number
            if "watch=1" in request:
                connection.sendall(harness.chunked())
            else:
                connection.sendall(harness.answer(harness.empty_list()))

        server, client = self.serve(serve)
        watch = client.watch()
        for _ in range(3):
            trouble = client.until(watch, "trouble")
        self.assertIn("ended at once", trouble["why"])
        times = [t for t, line in server.requests if "watch=1" in line]
        self.assertGreaterEqual(times[1] - times[0], 0.8)
        self.assertGreaterEqual(times[2] - times[1], 1.6)

    def test_query_of_a_watch(self):

        def serve(connection, request, number):
            del number
            if "watch=1" in request:
                time.sleep(1)
            else:
                connection.sendall(harness.answer(harness.empty_list("abc/7")))

        server, client = self.serve(serve)
        client.watch(labels="a=b,c", least_s=300, most_s=600)
        self.in_time(lambda: len(server.requests) >= 2, "the watch")
        line = server.requests[1][1]
        self.assertIn("resourceVersion=abc%2F7", line)
        self.assertIn("allowWatchBookmarks=true", line)
        self.assertIn("labelSelector=a%3Db%2Cc", line)
        seconds = int(line.split("timeoutSeconds=")[1].split()[0].split("&")[0])
        self.assertTrue(300 <= seconds <= 600)

    def test_bookmarks_move_the_version(self):

        def event(kind, version, name="x"):
            return json.dumps({"type": kind, "object": {"kind": "ConfigMap", "metadata": {
                "name": name, "namespace": "default", "uid": "u", "resourceVersion": version}}}
            ).encode() + b"\n"

        def serve(connection, request, number):
            if "watch=1" not in request:
                connection.sendall(harness.answer(harness.empty_list()))
            elif number == 2:
                text = event("ADDED", "6") + event("BOOKMARK", "9", "")
                connection.sendall(harness.chunked(text[:50], text[50:51], text[51:]))
            else:
                time.sleep(1)

        server, client = self.serve(serve)
        watch = client.watch()
        client.until(watch, "upsert", name="x", version="6")
        self.in_time(lambda: len(server.requests) >= 3, "the next watch")
        self.assertIn("resourceVersion=9", server.requests[2][1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
