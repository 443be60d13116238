"""What `run` does: options, the cluster's life around the tests, one summary."""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import unittest

import binaries
import cluster_test
import debian
import ground
import image
import traces
from api import ApiServer, Kubectl
from binaries import say
from cluster import Cluster

HERE = os.path.dirname(os.path.abspath(__file__))
COULD_NOT = 69
SKIPPED = 77
COUNTS = ("passed", "failed", "skipped")
BASE_PACKAGES = ("perl",)


def options(argv):
    parser = argparse.ArgumentParser(prog="run", usage="see tests/kubernetes/run --help")
    parser.add_argument("-k", dest="pattern", default="")
    parser.add_argument("--binaries")
    parser.add_argument("--cache", default=binaries.cache_folder())
    for name in ("--keep", "--build-only", "--api", "--external"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # set by run itself, on the ground
    parser.error = lambda why: (print(f"run: {why}; see --help", file=sys.stderr), sys.exit(64))
    return parser.parse_args(argv)


def run_tests(start, pattern):
    """Runs the test files that start so; {passed, failed, skipped}."""
    loader = unittest.TestLoader()
    if pattern:
        loader.testNamePatterns = [f"*{pattern}*"]
    suite = loader.discover(HERE, pattern=f"{start}_*.py", top_level_dir=HERE)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    return {"passed": max(result.testsRun - bad - skipped, 0), "failed": bad, "skipped": skipped}


def add(*counts):
    return {name: sum(c[name] for c in counts) for name in COUNTS}


def summary(counts):
    print(", ".join(f"{counts[name]} {name}" for name in COUNTS), flush=True)
    return 1 if counts["failed"] or not counts["passed"] else 0


# ---- on the ground


def inside(given):
    """Starts the cluster, runs the tests; leaves their counts in the file --inside."""
    started = time.monotonic()
    with Cluster(given.binaries) as cluster:
        say(f"node ready after {time.monotonic() - started:.1f} s")
        cluster_test.SERVER = cluster_test.CLUSTER = cluster
        cluster_test.BINARIES = given.binaries
        import_base(cluster, given)
        counts = run_tests("real", given.pattern)
        memory = {name: f"{size >> 20} MiB" for name, size in cluster.memory().items()}
        say(f"memory: {', '.join(f'{name} {size}' for name, size in memory.items())}")
        with open(given.inside, "w", encoding="utf-8") as f:
            json.dump(counts, f)
        if given.keep:
            keep(cluster)
        started = time.monotonic()
    say(f"stopped in {time.monotonic() - started:.1f} s")
    return 0


def import_base(cluster, given):
    """The image of most test pods: plain Debian, with kubectl."""
    started = time.monotonic()
    cluster_test.BASE = image.base(given.cache, *BASE_PACKAGES)
    cluster_test.NEXT = image.next_base(given.cache)
    kubectl = os.path.join(given.binaries, "bin", "kubectl")
    top = image.layer(cluster.path("kubectl.tar"), {"/usr/local/bin/kubectl": kubectl})
    cluster_test.ARCHIVE = image.write(cluster.path("debian.tar"), cluster_test.IMAGE,
                                       [cluster_test.BASE, top])
    cluster.image_import(cluster_test.ARCHIVE)
    say(f"base image imported after {time.monotonic() - started:.1f} s")


def keep(cluster):
    with open(cluster.path("first"), encoding="utf-8") as f:
        first = f.read()
    say(f"the cluster stays until Ctrl-C; to look at it:\n  nsenter --target {first} --all env "
        f"KUBECONFIG={cluster.kubeconfig} {cluster.program} get pods -A")
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass


# ---- on the machine


def fetch_next(given):
    """The next Debian, for what only its packages have: tests of that are skipped without it."""
    started = time.monotonic()
    try:
        image.base(given.cache, *image.NEXT_PACKAGES, release=debian.NEXT)
        say(f"base of {debian.NEXT} there after {time.monotonic() - started:.1f} s")
    except debian.Missing as why:
        say(f"no test with Debian's {debian.NEXT}: {why}")


def with_nodes(given):
    """Tests on the ground and around it; what they left is a failure like any other."""
    started = time.monotonic()
    image.base(given.cache, *BASE_PACKAGES)
    say(f"base image there after {time.monotonic() - started:.1f} s")
    fetch_next(given)
    ground.sweep()
    before = traces.look()
    counts = [run_tests("outer", given.pattern)]
    with tempfile.NamedTemporaryFile("r", prefix="reknit-counts-", encoding="utf-8") as result:
        line = [sys.executable, os.path.abspath(__file__), "--inside", result.name, "--binaries",
                given.binaries, "--cache", given.cache, "-k", given.pattern]
        code = ground.enter(line + ["--keep"] * given.keep)
        text = result.read()
    counts.append(json.loads(text) if text else {"passed": 0, "failed": 1, "skipped": 0})
    if code != 0:
        say(f"the part with nodes ended with {code}")
        counts.append({"passed": 0, "failed": 1, "skipped": 0})
    left = traces.compare(before, traces.look())
    for what in left:
        say(f"the machine has changed: {what}")
    counts.append({"passed": int(not left), "failed": int(bool(left)), "skipped": 0})
    return add(*counts)


def with_server(given):
    """Tests that need an API server only, on one of our own without root."""
    folder = tempfile.mkdtemp(prefix="reknit-api-")
    try:
        with ApiServer(os.path.join(folder, "api"), given.binaries) as cluster_test.SERVER:
            return run_tests("real", given.pattern)
    finally:
        shutil.rmtree(folder)


def with_other(given):
    """The same on somebody's cluster."""
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        print("run: --external needs KUBECONFIG", file=sys.stderr)
        sys.exit(64)
    cluster_test.SERVER = Kubectl("kubectl", kubeconfig)
    return run_tests("real", given.pattern)


def prepare(given):
    """Packages and programs.  An API server alone needs no package but one that is common."""
    if not (given.api and shutil.which("openssl")):
        debian.install("kubernetes")
    if not given.binaries:
        given.binaries = binaries.ensure(given.cache)
    given.binaries = os.path.abspath(given.binaries)
    given.cache = os.path.abspath(given.cache)
    cluster_test.BINARIES = given.binaries


def work(given):
    if given.external:
        return summary(with_other(given))
    prepare(given)
    if given.build_only:
        print(given.binaries)
        return 0
    if given.api:
        return summary(with_server(given))
    try:
        ground.check()
    except debian.Missing as why:
        code = summary(with_server(given))
        say(f"skipped all tests with pods: {why}")
        return code or SKIPPED
    return summary(with_nodes(given))


def main(argv):
    given = options(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    if given.inside:
        return inside(given)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        return work(given)
    except debian.Missing as why:
        say(str(why))
        return COULD_NOT
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
