"""Starts a container's first process in namespaces of its own, and ends as that ends.

    become.py SCRIPT WORD...    runs /bin/sh -c SCRIPT sh WORD...

A program of its own, since unshare(1) loses the signal that ended its child.  All processes of the
container end with the first one; the first one ends with this one, and this one with its parent.
"""
import contextlib
import ctypes
import os
import signal
import sys

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
PR_SET_PDEATHSIG = 1


def main():
    """The program."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID):
        sys.exit(f"become: no namespaces: {os.strerror(ctypes.get_errno())}")
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execv("/bin/sh", ["/bin/sh", "-c", sys.argv[1], "sh", *sys.argv[2:]])
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
