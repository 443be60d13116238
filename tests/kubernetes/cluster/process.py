"""Processes of a test cluster: started with a log, ended by id, watched for an early death."""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
DEADLINE = 90


def wait_for(condition, what, deadline=DEADLINE, pause=0.05):
    """The first true value of condition(); fails when there is none before the deadline.  `what`:
    a sentence, or what makes one when it is needed."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            said = what() if callable(what) else what
            raise AssertionError(f"waited {deadline} s in vain: {said}")
        time.sleep(pause)


def die_with_parent():
    """Between fork and exec: the kernel kills this process when its parent is gone."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
            return [int(word) for word in f.read().split()]
    return []


def resident(pid):
    """Resident memory in bytes, 0 when there is no such process."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/statm", encoding="utf-8") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class Daemon:
    """A program that runs until it is stopped; its words go to LOGS/NAME.log, appended.

    With `within` (the start of a command line that enters namespaces) the program itself is that
    command's child."""

    def __init__(self, name, line, logs, within=(), environment=None):
        self.name = name
        self.line = list(line)
        self.within = list(within)
        self.environment = environment
        self.log = os.path.join(logs, name + ".log")
        self.process = None

    def start(self):
        line = self.line
        if self.within:
            line = [*self.within, "setpriv", "--pdeathsig", "KILL", *line]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, env=self.environment,
                                            preexec_fn=die_with_parent)
        return self

    @property
    def pid(self):
        """The program's own id, 0 when it does not run."""
        if self.process is None or self.process.poll() is not None:
            return 0
        if not self.within:
            return self.process.pid
        return next(iter(children(self.process.pid)), 0)

    def signal(self, number):
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, patience=10):
        """Asks it to end, and kills it when it does not."""
        if self.process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()

    def check(self):
        """Fails when it has ended by itself."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n"
                                 f"{self.tail()}")

    def tail(self, size=3000):
        with contextlib.suppress(OSError):
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()[-size:]
        return ""

    def memory(self):
        return resident(self.pid)
