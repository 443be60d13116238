#!/usr/bin/env python3
"""Does the simulated API server answer as a real one does?  Objects, their rules, patches."""
import unittest

from sim_case import Case
from sim_client import config_map, path_of, pod, wait_for


class Objects(Case):
    """Creation, change, deletion."""

    def test_creation_stamps_and_names(self):
        made = self.create("pods", {"metadata": {"generateName": "p-", "uid": "mine"},
                                    "spec": pod("x")["spec"], "status": {"phase": "Running"}})
        metadata = made["metadata"]
        self.assertRegex(metadata["name"], r"^p-[a-z0-9]{5}$")
        self.assertEqual(self.space, metadata["namespace"])
        self.assertNotEqual("mine", metadata["uid"])
        self.assertEqual("Pending", made["status"]["phase"])
        self.assertEqual(30, made["spec"]["terminationGracePeriodSeconds"])
        self.assertEqual(made, self.get("pods", metadata["name"]))

    def test_second_creation(self):
        self.create("configmaps", config_map("a"))
        with self.refused(409, "AlreadyExists", 'configmaps "a" already exists'):
            self.create("configmaps", config_map("a"))

    def test_missing(self):
        with self.refused(404, "NotFound", 'jobs.batch "x" not found') as found:
            self.get("jobs", "x")
        self.assertEqual({"name": "x", "group": "batch", "kind": "jobs"},
                         found[0].status["details"])
        with self.refused(404, "NotFound", 'namespaces "nowhere" not found'):
            self.sim.create("configmaps", config_map("a"), "nowhere")
        with self.refused(404, None, "could not find the requested resource"):
            self.sim.ask("GET", "/apis/none.example/v1/things")

    def test_wrong_path_and_body(self):
        with self.refused(400, "BadRequest", "namespace of the provided object"):
            self.create("configmaps", {"metadata": {"name": "a", "namespace": "other"}})
        with self.refused(400, "BadRequest"):
            self.sim.ask("POST", path_of("pods", self.space), "{")
        with self.refused(400, "BadRequest", "does not match the expected API version"):
            self.create("configmaps", {"apiVersion": "v2", "metadata": {"name": "a"}})
        with self.refused(400, "BadRequest", "cannot unmarshal number"):
            body = pod("a")
            body["spec"]["containers"][0]["env"] = [{"name": "A", "value": 1}]
            self.create("pods", body)
        with self.refused(500, "InternalError", "resourceVersion should not be set"):
            self.create("configmaps", {"metadata": {"name": "a", "resourceVersion": "7"}})

    def test_dry_run(self):
        self.assertEqual("a", self.create("configmaps", config_map("a"),
                                          dryRun="All")["metadata"]["name"])
        self.assertNotIn("a", self.names("configmaps"))
        made = self.create("configmaps", config_map("b", k="1"))
        self.patch("configmaps", "b", {"data": {"k": "2"}}, dryRun="All")
        self.sim.ask("DELETE", path_of("configmaps", self.space, "b") + "?dryRun=All")
        self.assertEqual(made, self.get("configmaps", "b"))

    def test_update_needs_the_version(self):
        made = self.create("configmaps", config_map("a", k="1"))
        made["data"]["k"] = "2"
        newer = self.sim.update("configmaps", made)
        self.assertGreater(int(newer["metadata"]["resourceVersion"]),
                           int(made["metadata"]["resourceVersion"]))
        with self.refused(409, "Conflict", "the object has been modified"):
            self.sim.update("configmaps", made)
        with self.refused(409, "Conflict"):
            self.patch("configmaps", "a", {"metadata": made["metadata"], "data": {"k": "3"}})
        del made["metadata"]["resourceVersion"]
        self.assertEqual("2", self.sim.update("configmaps", made)["data"]["k"])

    def test_same_again_is_no_change(self):
        made = self.create("configmaps", config_map("a", k="1"))
        again = self.patch("configmaps", "a", {"data": {"k": "1"}})
        self.assertEqual(made["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"])

    def test_lease(self):
        body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me",
                                                    "renewTime": "2026-01-01T00:00:00Z"}}
        with self.refused(400, "BadRequest", "cannot parse"):
            self.create("leases", body)
        body["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
        made = self.create("leases", body)
        del made["metadata"]["resourceVersion"]
        with self.refused(422, "Invalid", "must be specified for an update"):
            self.sim.update("leases", made)
        body["spec"]["leaseDurationSeconds"] = 0
        body["metadata"]["name"] = "m"
        with self.refused(422, "Invalid", "must be greater than 0"):
            self.create("leases", body)

    def test_status_is_a_part_of_its_own(self):
        body = {"metadata": {"name": "m"}, "spec": {"mpiReplicaSpecs": {"Worker": {"replicas": 2}}},
                "status": {"startTime": "x"}}
        made = self.create("mpijobs", body)
        self.assertNotIn("status", made)
        self.assertEqual(1, made["metadata"]["generation"])
        made = self.patch("mpijobs", "m", {"status": {"a": 1}, "spec": {"slotsPerWorker": 3}},
                          subresource="status")
        self.assertEqual(({"a": 1}, 1), (made["status"], made["metadata"]["generation"]))
        self.assertNotIn("slotsPerWorker", made["spec"])
        made["status"], made["spec"]["slotsPerWorker"] = {"a": 2}, 4
        made = self.sim.update("mpijobs", made)
        self.assertEqual(({"a": 1}, 2), (made["status"], made["metadata"]["generation"]))

    def test_scale(self):
        self.create("mpijobs", {"metadata": {"name": "m"},
                                "spec": {"mpiReplicaSpecs": {"Worker": {"replicas": 2}}}})
        path = path_of("mpijobs", self.space, "m", "scale")
        scale = self.sim.ask("GET", path)
        self.assertEqual(("Scale", 2), (scale["kind"], scale["spec"]["replicas"]))
        scale["spec"]["replicas"] = 5
        self.sim.ask("PUT", path, scale)
        spec = self.get("mpijobs", "m")["spec"]
        self.assertEqual(5, spec["mpiReplicaSpecs"]["Worker"]["replicas"])
        with self.refused(409, "Conflict"):
            self.sim.ask("PUT", path, scale)

    def test_custom_puts_need_a_version(self):
        made = self.create("mpijobs", {"metadata": {"name": "m"}, "spec": {}})
        del made["metadata"]["resourceVersion"]
        with self.refused(422, "Invalid", "metadata.resourceVersion: Invalid value: 0"):
            self.sim.update("mpijobs", made)

    def test_deletion_of_pods(self):
        self.create("pods", pod("free"))
        self.assertNotIn("deletionTimestamp", self.delete("pods", "free")["metadata"])
        self.create("pods", pod("bound", nodeName="n"))
        metadata = self.delete("pods", "bound")["metadata"]
        self.assertEqual(30, metadata["deletionGracePeriodSeconds"])
        self.assertIn("deletionTimestamp", metadata)
        self.delete("pods", "bound", gracePeriodSeconds=5)
        self.assertEqual(5, self.get("pods", "bound")["metadata"]["deletionGracePeriodSeconds"])
        self.delete("pods", "bound", gracePeriodSeconds=0)
        self.assertEqual([], self.names("pods"))

    def test_finalizers(self):
        body = config_map("a")
        body["metadata"]["finalizers"] = ["reknit.dev/x"]
        self.create("configmaps", body)
        self.assertIn("deletionTimestamp", self.delete("configmaps", "a")["metadata"])
        with self.refused(422, "Invalid", "no new finalizers"):
            self.patch("configmaps", "a", {"metadata": {"finalizers": ["reknit.dev/x", "b/c"]}})
        self.patch("configmaps", "a", {"data": {"k": "v"}})
        self.assertIn("a", self.names("configmaps"))
        self.patch("configmaps", "a", {"metadata": {"finalizers": None}})
        self.assertNotIn("a", self.names("configmaps"))

    def test_preconditions(self):
        made = self.create("configmaps", config_map("a"))
        with self.refused(409, "Conflict", "UID in precondition"):
            self.delete("configmaps", "a", preconditions={"uid": "other"})
        with self.refused(409, "Conflict", "ResourceVersion in precondition"):
            self.delete("configmaps", "a", preconditions={"resourceVersion": "1"})
        answer = self.delete("configmaps", "a", preconditions={"uid": made["metadata"]["uid"]})
        self.assertEqual("Success", answer["status"])
        self.assertEqual(made["metadata"]["uid"], answer["details"]["uid"])

    def test_collection(self):
        for name, labels in (("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {})):
            body = config_map(name)
            body["metadata"]["labels"] = labels
            self.create("configmaps", body)
        self.sim.ask("DELETE", path_of("configmaps", self.space) + "?labelSelector=x%3D1")
        self.assertEqual(["c", "kube-root-ca.crt"], self.names("configmaps"))

    def test_two_forms_of_events(self):
        event = {"metadata": {"name": "e"}, "regarding": {"namespace": self.space, "name": "p"},
                 "eventTime": "2026-01-01T00:00:00.000001Z", "type": "Normal", "reason": "R",
                 "action": "A", "reportingController": "reknit.dev/c", "reportingInstance": "i",
                 "note": "n" * 1024}
        self.sim.ask("POST", path_of("events", self.space, group="events.k8s.io/v1"), event)
        core = self.get("events", "e")
        self.assertEqual(("v1", event["note"], "p"), (core["apiVersion"], core["message"],
                                                      core["involvedObject"]["name"]))
        event["metadata"]["name"], event["note"] = "f", "n" * 1025
        with self.refused(422, "Invalid", "note: Invalid value"):
            self.sim.ask("POST", path_of("events", self.space, group="events.k8s.io/v1"), event)
        del event["eventTime"]
        event["note"] = "n"
        with self.refused(422, "Invalid", "eventTime: Required value"):
            self.sim.ask("POST", path_of("events", self.space, group="events.k8s.io/v1"), event)

    def test_namespaces_end(self):
        self.create("configmaps", config_map("a"))
        self.create("pods", pod("p", nodeName="n"))
        self.sim.delete("namespaces", self.space, "")
        with self.refused(403, "Forbidden", "is being terminated"):
            self.create("configmaps", config_map("b"))
        self.delete("pods", "p", gracePeriodSeconds=0)
        wait_for(lambda: self.space not in [n["metadata"]["name"] for n in self.sim.list(
            "namespaces", "")["items"]], "the namespace ends")

    def test_service_accounts_and_quota(self):
        with self.refused(403, "Forbidden", 'serviceaccount "ghost" not found'):
            self.create("pods", pod("a", serviceAccountName="ghost"))
        mounts = self.create("pods", pod("a"))["spec"]["containers"][0]["volumeMounts"]
        self.assertEqual("/var/run/secrets/kubernetes.io/serviceaccount", mounts[0]["mountPath"])
        with self.refused(403, "Forbidden", "no PriorityClass with name high was found"):
            self.create("pods", pod("c", priorityClassName="high"))
        self.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})
        with self.refused(403, "Forbidden", "exceeded quota: q, requested: pods=1, used: pods=1,"
                          " limited: pods=1"):
            self.create("pods", pod("b"))


class Rules(Case):
    """422 with a cause for each fault."""

    def fields(self, resource, body):
        with self.refused(422, "Invalid") as found:
            self.create(resource, body)
        return {c["field"]: c["reason"] for c in found[0].status["details"]["causes"]}

    def test_names(self):
        self.assertEqual({"metadata.name": "FieldValueInvalid"},
                         self.fields("configmaps", config_map("Big")))
        self.assertEqual({"metadata.name": "FieldValueRequired"},
                         self.fields("configmaps", {"metadata": {}}))
        self.assertEqual({"metadata.name": "FieldValueInvalid"}, self.fields("services", {
            "metadata": {"name": "1a"}, "spec": {"clusterIP": "None"}}))
        body = config_map("a")
        body["metadata"].update(labels={"a b": "c", "k": "v" * 64}, ownerReferences=[{"uid": "x"}])
        self.assertEqual({"metadata.labels", "metadata.ownerReferences[0].apiVersion",
                          "metadata.ownerReferences[0].kind", "metadata.ownerReferences[0].name"},
                         set(self.fields("configmaps", body)))

    def test_pods(self):
        self.assertEqual({"spec.containers": "FieldValueRequired"},
                         self.fields("pods", {"metadata": {"name": "a"}, "spec": {}}))
        one = {"name": "A_", "env": [{"name": ""}], "volumeMounts": [{"name": "v",
                                                                     "mountPath": "/v"}],
               "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}
        self.assertEqual(
            {"spec.containers[0].name": "FieldValueInvalid",
             "spec.containers[0].image": "FieldValueRequired",
             "spec.containers[0].env[0].name": "FieldValueRequired",
             "spec.containers[0].volumeMounts[0].name": "FieldValueNotFound",
             "spec.containers[0].resources.requests": "FieldValueInvalid",
             "spec.restartPolicy": "FieldValueNotSupported"},
            self.fields("pods", {"metadata": {"name": "a"}, "spec": {
                "containers": [one], "restartPolicy": "Sometimes"}}))

    def test_pods_do_not_change(self):
        self.create("pods", pod("a"))
        with self.refused(422, "Invalid", "pod updates may not change fields"):
            self.patch("pods", "a", {"spec": {"hostname": "other"}})
        image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "image:2"}]
        self.patch("pods", "a", image, "json")
        self.patch("pods", "a", {"metadata": {"annotations": {"x": "y"}}})

    def test_jobs(self):
        template = {"spec": pod("x")["spec"]}
        self.assertEqual({"spec.template.spec.restartPolicy": "FieldValueNotSupported"},
                         self.fields("jobs", {"metadata": {"name": "j"},
                                              "spec": {"template": template}}))
        template["spec"]["restartPolicy"] = "Never"
        job = {"metadata": {"name": "j"}, "spec": {"template": template, "backoffLimit": -1}}
        self.assertEqual({"spec.backoffLimit": "FieldValueInvalid"}, self.fields("jobs", job))
        del job["spec"]["backoffLimit"]
        made = self.create("jobs", job)
        labels = made["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(("j", made["metadata"]["uid"]), (labels["job-name"],
                                                          labels["controller-uid"]))
        with self.refused(422, "Invalid", "spec.template: Invalid value"):
            self.patch("jobs", "j", {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}})
        self.assertEqual(2, self.patch("jobs", "j", {"spec": {"suspend": True}})[
            "metadata"]["generation"])
        self.patch("jobs", "j", {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}})

    def test_pod_groups(self):
        for group, own, other in (
                ("scheduling.volcano.sh/v1beta1", "queue", "scheduleTimeoutSeconds"),
                ("scheduling.x-k8s.io/v1alpha1", "scheduleTimeoutSeconds", "queue")):
            with self.subTest(group):
                path = path_of("podgroups", self.space, group=group)
                values = {"queue": "q", "scheduleTimeoutSeconds": 5}
                made = self.sim.ask("POST", path, {"metadata": {"name": "g"}, "spec": {
                    "minMember": 2, "minResources": {"cpu": 1, "memory": "1Gi"}, **values}})
                self.assertEqual(values[own], made["spec"][own])
                self.assertNotIn(other, made["spec"])
                for spec in ({"minMember": "2"}, {"minResources": {"cpu": "much"}}):
                    with self.refused(422, "Invalid"):
                        self.sim.ask("POST", path, {"metadata": {"name": "h"}, "spec": spec})

    def test_definitions_are_served(self):
        schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer", "minimum": 1, "default": 3},
            "mode": {"type": "string", "enum": ["a", "b"]}}}}}
        self.sim.create("customresourcedefinitions", {
            "metadata": {"name": "things.example.com"}, "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": True, "storage": True,
                              "schema": {"openAPIV3Schema": schema},
                              "subresources": {"status": {}}}]}}, "")
        path = path_of("things", self.space, group="example.com/v1")
        made = self.sim.ask("POST", path, {"metadata": {"name": "t"},
                                           "spec": {"mode": "a", "odd": 1, "size": None}})
        self.assertNotIn("odd", made["spec"])
        self.assertEqual((3, "Thing"), (made["spec"]["size"], made["kind"]))
        with self.refused(422, "Invalid") as found:
            self.sim.ask("POST", path, {"metadata": {"name": "u"},
                                        "spec": {"mode": "c", "size": 0}})
        self.assertEqual(["spec.size", "spec.mode"], sorted(
            [c["field"] for c in found[0].status["details"]["causes"]], reverse=True))
        names = [g["name"] for g in self.sim.ask("GET", "/apis")["groups"]]
        self.assertIn("example.com", names)
        self.sim.delete("customresourcedefinitions", "things.example.com", "")
        with self.refused(404):
            self.sim.ask("GET", path)


class Patches(Case):
    """Merge, JSON, strategic, apply."""

    def test_merge(self):
        self.create("configmaps", config_map("a", x="1", y="2"))
        self.assertEqual({"y": "2", "z": "3"}, self.patch(
            "configmaps", "a", {"data": {"x": None, "z": "3"}})["data"])

    def test_json(self):
        made = self.create("configmaps", config_map("a", x="1"))
        version = made["metadata"]["resourceVersion"]
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        add = {"op": "add", "path": "/data/a~1b", "value": "2"}
        with self.refused(422, "Invalid"):
            self.patch("configmaps", "a", [add], "json")  # "a/b" is no key of a ConfigMap
        add["path"] = "/data/y"
        self.assertEqual("2", self.patch("configmaps", "a", [test, add], "json")["data"]["y"])
        with self.refused(422, "Invalid", "test failed"):
            self.patch("configmaps", "a", [test, add], "json")
        with self.refused(422, "Invalid", "missing"):
            self.patch("configmaps", "a", [{"op": "remove", "path": "/data/none"}], "json")

    def test_strategic(self):
        self.create("pods", pod("a"))
        change = {"spec": {"containers": [{"name": "main", "image": "image:2"}]},
                  "metadata": {"finalizers": ["a/b"]}}
        made = self.patch("pods", "a", change, "strategic")
        self.assertEqual(("image:2", "IfNotPresent", ["a/b"]), (
            made["spec"]["containers"][0]["image"],
            made["spec"]["containers"][0]["imagePullPolicy"], made["metadata"]["finalizers"]))
        made = self.patch("pods", "a", {"status": {"conditions": [
            {"type": "Ready", "status": "True"}]}}, "strategic", subresource="status")
        made = self.patch("pods", "a", {"status": {"conditions": [
            {"type": "Other", "status": "True"}]}}, "strategic", subresource="status")
        self.assertEqual(2, len(made["status"]["conditions"]))

    def test_strategic_is_not_for_custom_ones(self):
        self.create("mpijobs", {"metadata": {"name": "m"}, "spec": {}})
        with self.refused(415, "UnsupportedMediaType", "merge-patch+json"):
            self.patch("mpijobs", "m", {"spec": {}}, "strategic")

    def test_apply(self):
        first = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "1", "b": "1"}}
        with self.refused(422, "Invalid", "is required for apply patch"):
            self.patch("configmaps", "c", first, "apply")
        self.patch("configmaps", "c", first, "apply", fieldManager="x")
        second = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "2", "c": "1"}}
        with self.refused(409, "Conflict", 'conflict with "x"') as found:
            self.patch("configmaps", "c", second, "apply", fieldManager="y")
        self.assertEqual([("FieldManagerConflict", ".data.a")], [
            (c["reason"], c["field"]) for c in found[0].status["details"]["causes"]])
        made = self.patch("configmaps", "c", second, "apply", fieldManager="y", force="true")
        self.assertEqual({"a": "2", "b": "1", "c": "1"}, made["data"])
        last = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"c": "1"}}
        made = self.patch("configmaps", "c", last, "apply", fieldManager="y")
        self.assertEqual({"b": "1", "c": "1"}, made["data"])

    def test_updates_own_what_they_change(self):
        self.create("configmaps", config_map("c", a="1"), fieldManager="hand")
        body = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "2"}}
        with self.refused(409, "Conflict", 'conflict with "hand"'):
            self.patch("configmaps", "c", body, "apply", fieldManager="y")
        self.patch("configmaps", "c", body, "apply", fieldManager="y", force="true")
        self.patch("configmaps", "c", {"data": {"a": "3"}}, fieldManager="hand")
        with self.refused(409, "Conflict", 'conflict with "hand"'):
            self.patch("configmaps", "c", body, "apply", fieldManager="y")

    def test_apply_joins_lists_by_key(self):
        self.create("pods", pod("a"), fieldManager="hand")
        change = {"kind": "Pod", "apiVersion": "v1", "status": {"conditions": [
            {"type": "Mine", "status": "True"}]}}
        self.patch("pods", "a", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
                   subresource="status")
        made = self.patch("pods", "a", change, "apply", subresource="status", fieldManager="y")
        self.assertEqual(["Ready", "Mine"], [c["type"] for c in made["status"]["conditions"]])


if __name__ == "__main__":
    unittest.main()
