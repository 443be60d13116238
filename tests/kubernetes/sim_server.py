#!/usr/bin/env python3
"""A simulated Kubernetes API server: one process, Python's standard library only.

    sim_server.py --port 0 [--ready-file FILE] ...

Prints one JSON line with its ports when it listens, and writes it to the ready file.  It ends when
its standard input closes or its parent dies (--stay: only by a signal).  README.md says what it
does as a real server, what it leaves out, and how tests steer it through the control port.
"""
import argparse
import asyncio
import ctypes
import json
import os
import signal
import ssl
import sys

from sim import api, cluster, control, http, sandbox, world

PR_SET_PDEATHSIG = 1


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--ready-file")
    parser.add_argument("--stay", action="store_true", help="do not end with standard input")
    parser.add_argument("--tls-cert", help="serve TLS with this certificate")
    parser.add_argument("--tls-key")
    parser.add_argument("--client-ca", help="accept client certificates of this authority")
    parser.add_argument("--cluster-ca", help="what pods get as the authority's certificate")
    parser.add_argument("--token", action="append", default=[], metavar="TOKEN[=USER]",
                        help="a token that is valid; with none, everybody is the administrator")
    parser.add_argument("--rbac", action="store_true", help="Role objects decide")
    parser.add_argument("--version", default="1.31", metavar="1.MINOR")
    parser.add_argument("--history", type=int, default=100_000, help="changes kept for watches")
    parser.add_argument("--bookmark-seconds", type=float, default=60.0)
    parser.add_argument("--continue-seconds", type=float, default=300.0)
    parser.add_argument("--watch-list", action="store_true")
    parser.add_argument("--no-mpijob", action="store_true", help="MPIJobs need their CRD")
    parser.add_argument("--no-pod-groups", action="store_true")
    parser.add_argument("--no-service-accounts", action="store_true",
                        help="pods need no service account and get no token")
    parser.add_argument("--no-garbage-collector", action="store_true")
    parser.add_argument("--jobs", action="store_true", help="run the Job controller")
    parser.add_argument("--scheduler", action="store_true", help="bind pods to nodes")
    parser.add_argument("--kubelet", choices=("none", "fake", "process"), default="none")
    parser.add_argument("--loopback", action="store_true",
                        help="pods of the fake kubelet have addresses that a test can listen at")
    parser.add_argument("--all", action="store_true",
                        help="Job controller, scheduler and the fake kubelet")
    parser.add_argument("--nodes", type=int, default=0, help="make so many nodes")
    parser.add_argument("--factor", type=float, default=1.0, help="how fast controllers' time runs")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def config_of(given):
    """The settings of a command line."""
    return world.Config(
        version=given.version, history=given.history, bookmark_seconds=given.bookmark_seconds,
        continue_seconds=given.continue_seconds, watch_list=given.watch_list, rbac=given.rbac,
        service_accounts=not given.no_service_accounts, mpijob=not given.no_mpijob,
        pod_groups=not given.no_pod_groups, garbage_collector=not given.no_garbage_collector,
        jobs=given.jobs or given.all, scheduler=given.scheduler or given.all,
        kubelet="fake" if given.all and given.kubelet == "none" else given.kubelet,
        loopback=given.loopback, seed=given.seed, authority=authority_of(given))


def authority_of(given):
    """The text of the authority's certificate, empty without one."""
    if not given.cluster_ca:
        return ""
    with open(given.cluster_ca, encoding="utf-8") as f:
        return f.read()


def tls_of(given):
    """The TLS context of a command line, or None."""
    if not given.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given.tls_cert, given.tls_key)
    context.set_alpn_protocols(["http/1.1"])
    if given.client_ca:
        context.load_verify_locations(given.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def end_with_parent(loop, stop):
    """Ends the process when its standard input closes, and when its parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def readable():
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    try:
        loop.add_reader(sys.stdin.fileno(), readable)
    except (PermissionError, ValueError):  # a file or /dev/null has its end at once
        stop.set()


def announce(given, server, steering):
    """Says where the server listens."""
    scheme = "https" if given.tls_cert else "http"
    line = json.dumps({"port": server.port, "control_port": steering.port, "pid": os.getpid(),
                       "url": f"{scheme}://{given.host}:{server.port}",
                       "control": f"http://127.0.0.1:{steering.port}"})
    print(line, flush=True)
    if given.ready_file:
        with open(given.ready_file + ".new", "w", encoding="utf-8") as f:
            f.write(line + "\n")
        os.rename(given.ready_file + ".new", given.ready_file)


async def run(given):
    """Serves until told to end."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if not given.stay:
        end_with_parent(loop, stop)
    place = world.World(config_of(given), given.factor)
    loop.set_exception_handler(lambda _, context: place.journal.report(context))
    for text in given.token:
        token, _, user = text.partition("=")
        place.access.give_token(token, user or "kubernetes-admin")
    cluster.begin(place, given.nodes)
    server = http.Server(api.Api(place).handle, given.host, given.port, tls_of(given))
    steering = http.Server(control.Control(place, server).handle, "127.0.0.1", given.control_port)
    await server.start()
    await steering.start()
    if given.kubelet == "process":
        place.controllers["kubelet"].service = (given.host, server.port)
    announce(given, server, steering)
    await stop.wait()
    for controller in place.controllers.values():
        controller.end()
    if given.kubelet == "process":
        await place.controllers["kubelet"].finish()
    await server.stop()
    await steering.stop()


def main():
    """The program: 77 where the process kubelet cannot run."""
    given = arguments()
    if given.kubelet == "process":
        why = sandbox.possible()
        if why:
            print(f"sim_server: the process kubelet cannot run here: {why}", file=sys.stderr)
            return 77
    asyncio.run(run(given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
