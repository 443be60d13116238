"""The Job controller: pods for each Job, retries with delays, deadlines, suspension, the end."""
from . import clock, job_pods, job_status, objects, recorder, workqueue

KEY = "jobs.batch"
OURS = ("", None, "kubernetes.io/job-controller")


class Life:
    """What the controller remembers of one Job beside its status."""

    def __init__(self):
        self.counted = set()
        self.failures = 0
        self.last_failure = 0.0
        self.started = None


class Jobs:
    """Brings every Job to what its spec says."""

    def __init__(self, world):
        self.world = world
        self.lives = {}
        self.queue = workqueue.Queue(world, self.look)
        world.store.listeners.append(self.changed)

    def end(self):
        """Looks after no Job any more."""
        self.queue.end()

    def changed(self, key, change):
        """Wants a look at a Job that changed, or whose pod did."""
        if key == KEY:
            self.queue.add(change.item.body["metadata"]["uid"])
        elif key == "pods":
            owner = job_pods.controller_of(change.item.body)
            if owner:
                self.queue.add(owner)
            elif job_pods.tracked(change.item.body):
                self.free(change.item)

    def free(self, item):
        """A pod that belongs to no Job any more keeps no finalizer of ours."""
        current = self.world.store.get("pods", *item.key)
        if current and job_pods.tracked(current.body):
            job_pods.untrack(self.world, current)

    def look(self, uid):
        """Brings one Job forward."""
        found = self.world.store.of_uid(uid)
        pods = job_pods.of_job(self.world, uid)
        if found is None or found[0] != KEY:
            for item in pods:
                self.free(item)
            self.lives.pop(uid, None)
            self.queue.drop(uid)
            return
        item = found[1]
        if item.body["spec"].get("managedBy") not in OURS:
            return
        life = self.lives.setdefault(uid, Life())
        if item.body["metadata"].get("deletionTimestamp"):
            self.let_go(item, pods)
            return
        if job_status.finished(item.body):
            self.after_end(item, pods)
            return
        self.sync(item, pods, life)

    def let_go(self, item, pods):
        """A Job that is being deleted makes no pods, and keeps none that have ended."""
        del item
        for one in pods:
            body = one.body
            if job_pods.terminal(body) or body["metadata"].get("deletionTimestamp"):
                self.free(one)

    def after_end(self, item, pods):
        """A finished Job: its pods are set free, and it goes when its time is over."""
        for one in pods:
            self.free(one)
        seconds = item.body["spec"].get("ttlSecondsAfterFinished")
        if seconds is None:
            return
        uid = item.body["metadata"]["uid"]
        life = self.lives[uid]
        if life.started != "ended":
            life.started = "ended"
            life.last_failure = self.world.clock.now()
        left = life.last_failure + seconds - self.world.clock.now()
        if left > 0:
            self.queue.later(uid, left)
            return
        resource = self.world.registry.find("batch", "v1", "jobs")
        objects.delete(self.world, resource, item, {"propagationPolicy": "Foreground"})

    def sync(self, item, pods, life):
        """One look at a Job that goes on."""
        status = job_status.Status(self.world, item)
        count = job_pods.Count(item.body, pods, life.counted)
        self.count_ended(status, count, life)
        spec = item.body["spec"]
        if spec.get("suspend"):
            self.suspend(status, count, life)
        elif status.target():
            job_pods.stop(self.world, count.active)
        else:
            self.go_on(item, status, count, life)
        item = status.write(job_pods.Count(item.body, job_pods.of_job(
            self.world, item.body["metadata"]["uid"]), life.counted))
        if item:
            self.settle(item, count)

    def count_ended(self, status, count, life):
        """Adds pods that ended to the status, each once."""
        for one in count.new_succeeded:
            status.add("succeeded", 1)
            life.counted.add(one.body["metadata"]["uid"])
            life.failures = 0
        for one in count.new_failed:
            life.counted.add(one.body["metadata"]["uid"])
            action, why = job_pods.failure_action(status.item.body, one.body)
            if action == "Ignore":
                continue
            status.add("failed", 1)
            life.failures += 1
            life.last_failure = self.world.clock.now()
            if action == "FailJob":
                status.fail("PodFailurePolicy", why)
        for one in count.ended:
            self.free(one)

    def suspend(self, status, count, life):
        """A suspended Job has no pods; those that it had do not count as failures."""
        for one in count.active:
            life.counted.add(one.body["metadata"]["uid"])
        job_pods.stop(self.world, count.active)
        if status.set("Suspended", True, "JobSuspended", "Job suspended"):
            recorder.record(self.world, status.item, "job-controller", "Normal", "Suspended",
                            "Job suspended")
        status.body.pop("startTime", None)
        life.started = None

    def go_on(self, item, status, count, life):
        """A Job that runs: resumed, failed, complete, or in need of pods."""
        if status.has("Suspended") and status.set("Suspended", False, "JobResumed", "Job resumed"):
            recorder.record(self.world, item, "job-controller", "Normal", "Resumed", "Job resumed")
        if life.started is None:
            life.started = self.world.clock.now()
            status.body["startTime"] = clock.stamp()
        if not status.target():
            self.check_limits(item, status, count, life)
        if not status.target() and job_pods.complete(item.body, status.body, count):
            status.succeed()
        if status.target():
            job_pods.stop(self.world, count.active)
            return
        self.manage(item, status, count, life)

    def check_limits(self, item, status, count, life):
        """Fails a Job that is over its time or its retries."""
        spec = item.body["spec"]
        limit = spec["backoffLimit"]
        deadline = spec.get("activeDeadlineSeconds")
        restarts = job_pods.restarts(item.body, count.active)
        if status.body.get("failed", 0) > limit or restarts > max(limit - 1, 0):
            status.fail("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif deadline is not None:
            left = life.started + deadline - self.world.clock.now()
            if left <= 0:
                status.fail("DeadlineExceeded", "Job was active longer than specified deadline")
            else:
                self.queue.later(item.body["metadata"]["uid"], left)

    def manage(self, item, status, count, life):
        """Creates the pods that lack, deletes those that are too many."""
        wanted = job_pods.wanted(item.body, status.body)
        surplus = len(count.active) - wanted
        if surplus > 0:
            job_pods.stop(self.world, count.active[-surplus:])
            return
        standing = len(count.active)
        if item.body["spec"].get("podReplacementPolicy") == "Failed":
            standing += len(count.terminating)
        if standing >= wanted:
            return
        left = life.last_failure + self.delay(life.failures) - self.world.clock.now()
        if life.failures and left > 0:
            self.queue.later(item.body["metadata"]["uid"], left)
            return
        if not job_pods.create(self.world, item, count, wanted - standing):
            self.queue.later(item.body["metadata"]["uid"], 1.0)

    def delay(self, failures):
        """The seconds between a failure and the next pod."""
        if self.world.config.minor < 26:
            return 1.0 if failures < 2 else min(360.0, 10.0 * 2 ** (failures - 2))
        return min(600.0, 10.0 * 2 ** (failures - 1)) if failures else 0.0

    def settle(self, item, count):
        """Says in an event how a Job ended."""
        del count
        end = job_status.finished(item.body)
        if end:
            kind = "Normal" if end["type"] == "Complete" else "Warning"
            reason = "Completed" if end["type"] == "Complete" else end["reason"]
            recorder.record(self.world, item, "job-controller", kind, reason,
                            end.get("message") or "Job completed")
