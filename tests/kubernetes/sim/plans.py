"""What the fake kubelet is told to do with pods: plans, each for the pods that it matches.

A plan is a dictionary.  Times are sim seconds, or [from, to] for a random one.
    name        a pattern of pod names (worker-*); namespace; labels: {key: value}; node
    count       how many container starts it takes (all)
    pull        time to Running                  pull_error: ErrImagePull, ... and stays so
    ready       time from Running to Ready, -1 for never
    run         time to the containers' end (none: they run until stopped)
    exit        the exit code of that end (0); signal, reason (OOMKilled), message
    init_exit   the init container ends with this code
    stop        time that containers take to end after SIGTERM (0); stop_exit (143)
"""
import fnmatch

DEFAULTS = {"pull": 0.0, "ready": 0.0, "stop": 0.0, "stop_exit": 143, "exit": 0}


class Plans:
    """The plans, newest first."""

    def __init__(self, random):
        self.random = random
        self.defaults = dict(DEFAULTS)
        self.plans = []

    def add(self, plan):
        """A new plan, before all older ones."""
        self.plans.insert(0, dict(plan))

    def matches(self, plan, body):
        """True for a pod that a plan is about."""
        metadata = body["metadata"]
        labels = metadata.get("labels") or {}
        return (fnmatch.fnmatchcase(metadata["name"], plan.get("name", "*"))
                and plan.get("namespace", metadata["namespace"]) == metadata["namespace"]
                and plan.get("node", body["spec"].get("nodeName")) == body["spec"].get("nodeName")
                and all(labels.get(k) == v for k, v in plan.get("labels", {}).items()))

    def take(self, body):
        """The settings for a start of a pod's containers."""
        for plan in self.plans:
            if not self.matches(plan, body):
                continue
            if "count" in plan:
                plan["count"] -= 1
                if plan["count"] <= 0:
                    self.plans.remove(plan)
            return {**self.defaults, **plan}
        return dict(self.defaults)

    def time(self, value):
        """A time of a plan as a number."""
        return self.random.uniform(*value) if isinstance(value, list) else float(value)
