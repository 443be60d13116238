"""What the tests take for granted of the API server, whichever it is."""
import json
import unittest

from cluster_test import ApiTest

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"},
          "data": {"word": "one"}}


class RealApi(ApiTest):
    def test_object_is_created_read_and_deleted(self):
        self.create(CONFIG)
        self.assertEqual(self.get("configmap", "note")["data"], {"word": "one"})
        self.kubectl("delete", "configmap", "note")
        self.assertIsNone(self.get("configmap", "note"))

    def test_dry_run_changes_nothing(self):
        said = self.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", given=CONFIG)
        self.assertEqual(json.loads(said)["metadata"]["namespace"], self.namespace)
        self.assertIsNone(self.get("configmap", "note"))

    def test_server_side_apply_merges(self):
        self.kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", given=CONFIG)
        other = {**CONFIG, "data": {"other": "two"}}
        self.kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", given=other)
        self.assertEqual(self.get("configmap", "note")["data"], {"word": "one", "other": "two"})

    def test_stale_version_is_a_conflict(self):
        self.create(CONFIG)
        stale = self.get("configmap", "note")
        self.kubectl("annotate", "configmap", "note", "a=b")
        run = self.api.kubectl("-n", self.namespace, "replace", "-f", "-", given=stale, check=False)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("Conflict", run.stderr)


if __name__ == "__main__":
    unittest.main()
