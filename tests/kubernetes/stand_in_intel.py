#!/usr/bin/env python3
"""A stand-in for Intel MPI's mpirun and for what that starts on each host, since Intel MPI cannot
be had for tests.  It starts no MPI: only its use of a launch agent is like Intel's.

Made from Intel's developer reference (I_MPI_HYDRA_* of 2019 to 2021.15) and from public reports of
what mpirun does: its command lines in 2020.1 with rsh (mpi-operator#266) and in 2021.6 with ssh
(volcano#2398); that with an interface its address is called back, else the host's name
(mpi-operator#426).  Not seen in a report: that I_MPI_HYDRA_BRANCH_COUNT=0 makes no tree, and where
I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS stand.

    mpirun [-n N] [-f FILE | -hosts A,B] COMMAND...
    hydra_bstrap_proxy --upstream-host HOST --upstream-port PORT ... hydra_pmi_proxy ...
"""
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys

INTERFACE_ADDRESS = 0x8915  # SIOCGIFADDR
LIMIT = 60


def setting(name, default=""):
    return os.environ.get(f"I_MPI_HYDRA_{name}", default)


def address():
    """What is called back: an address where an interface was named, else a name."""
    if not setting("IFACE"):
        return socket.gethostname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", setting("IFACE").encode())
        return socket.inet_ntoa(fcntl.ioctl(probe, INTERFACE_ADDRESS, request)[20:24])


def host_list(path):
    """Lines of `host` or `host:slots`; one that is named twice is used once."""
    with open(path, encoding="utf-8") as f:
        lines = [line.split(":")[0].strip() for line in f if line.strip()]
    return list(dict.fromkeys(lines))


def launch_words(host, number, count, port):
    """The whole command line for one host."""
    folder = os.path.dirname(os.path.abspath(__file__)) + "/"
    server, program = setting("BOOTSTRAP", "ssh"), setting("BOOTSTRAP_EXEC", "ssh")
    words = [program, *(["-q", "-x"] if server == "ssh" else []),
             *setting("BOOTSTRAP_EXEC_EXTRA_ARGS").split(), host, f"{folder}/hydra_bstrap_proxy",
             "--upstream-host", address(), "--upstream-port", str(port), "--pgid", "0",
             "--launcher", server, "--launcher-number", "0", "--launcher-exec", program,
             "--base-path", folder, "--tree-width", setting("BRANCH_COUNT", "16"), "--tree-level",
             "1", "--time-left", "-1", "--launch-type", "2", "--proxy-id", str(number),
             "--node-id", str(number), "--subtree-size", str(count if number == 0 else 1),
             f"{folder}/hydra_pmi_proxy", "--usize", "-1", "--auto-cleanup", "1",
             "--abort-signal", "9"]
    return words


def mpirun(arguments):
    hosts, count = host_list(setting("HOST_FILE")) if setting("HOST_FILE") else [], 1
    while arguments and arguments[0].startswith("-"):
        option, value, *arguments = arguments
        if option in ("-n", "-np"):
            count = int(value)
        elif option in ("-f", "-hostfile"):
            hosts = host_list(value)
        elif option == "-hosts":
            hosts = value.split(",")
    if setting("BRANCH_COUNT", "16") != "0":
        sys.exit("mpirun: with more hosts than that, the proxies would start proxies")
    hosts = hosts[:count]
    with socket.create_server(("", 0)) as server:
        server.settimeout(LIMIT)
        port = server.getsockname()[1]
        launchers = [subprocess.Popen(launch_words(host, number, len(hosts), port),
                                      stdin=subprocess.DEVNULL)
                     for number, host in enumerate(hosts)]
        codes = [serve(server, arguments) for _ in hosts]
    codes += [launcher.wait(LIMIT) for launcher in launchers]
    return max(codes)


def serve(server, command):
    """One proxy calls back, gets the command and the environment, and says what became of it."""
    connection, _ = server.accept()
    with connection, connection.makefile("rw", encoding="utf-8") as stream:
        print(json.dumps([command, dict(os.environ)]), file=stream, flush=True)
        code, output = json.loads(stream.readline())
        sys.stdout.write(output)
        sys.stdout.flush()
        return code


def proxy(arguments):
    given = dict(zip(arguments[0:-1:1], arguments[1::1]))
    where = (given["--upstream-host"], int(given["--upstream-port"]))
    with socket.create_connection(where, LIMIT) as connection, \
            connection.makefile("rw", encoding="utf-8") as stream:
        command, environment = json.loads(stream.readline())
        done = subprocess.run(command, env={**environment, "PMI_RANK": given["--proxy-id"]},
                              stdout=subprocess.PIPE, text=True, check=False)
        print(json.dumps([done.returncode, done.stdout]), file=stream, flush=True)
    return 0


if __name__ == "__main__":
    role = proxy if os.path.basename(sys.argv[0]) == "hydra_bstrap_proxy" else mpirun
    sys.exit(role(sys.argv[1:]))
