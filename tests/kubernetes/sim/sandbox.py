"""One container as local processes: own mounts, process numbers, host name; not the network.

The root is an overlay over the machine's own, or over that of an image that a test gave, with a
tmpfs on top: what a container writes outside its volumes is gone with it.  Single files of an image
are laid on top.  All processes end with the first one, and with the server.
"""
import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys

from . import fields

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
KEPT = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"}
MESSAGE_LIMIT = 4096
OLD = "/.machine"  # where the machine's own root is while a container's is being built
BEGIN = (sys.executable, "-I", "-S", os.path.join(os.path.dirname(__file__), "become.py"))
BECOME = 'cd "$0" && exec "$@"'  # stands in the command line until the container's own does
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def possible():
    """None where containers can be run, else the reason why not."""
    if os.geteuid() != 0:
        return "needs root"
    run = subprocess.run([*BEGIN, "mount --make-rprivate /"], stderr=subprocess.PIPE, text=True,
                         check=False)
    return None if run.returncode == 0 else run.stderr.strip()


def other_mounts():
    """Mount points beside the root that a container sees as they are, outermost only."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as f:
        points = sorted({line.split()[1] for line in f})
    for point in points:
        if point in KEPT or "\\" in point or point.startswith(("/proc/", "/dev/")):
            continue
        if not any(point.startswith(outer + "/") for outer in found):
            found.append(point)
    return found


class Container:
    """One container of a pod: how it is started, and what became of it."""

    def __init__(self, folder, spec, image):
        self.folder = os.path.join(folder, "containers", spec["name"])
        self.spec = spec
        self.image = image
        self.process = None
        self.inside = None
        self.code = None
        self.number = 0
        os.makedirs(self.folder, exist_ok=True)

    @property
    def log(self):
        """The path of the log."""
        return os.path.join(self.folder, "log")

    @property
    def message(self):
        """The path of the termination message."""
        return os.path.join(self.folder, "message")

    def words(self):
        """The command line before $(NAME) is replaced."""
        command = self.spec.get("command") or self.image.get("command") or []
        arguments = self.spec.get("args")
        if arguments is None:
            arguments = [] if self.spec.get("command") else self.image.get("args", [])
        return [*command, *arguments]

    def script(self, body, volumes, host_name, hosts, environment):
        """The shell text that builds the root, moves into it, and becomes the container."""
        scratch = os.path.join(self.folder, "scratch")
        root = scratch + "/root"
        os.makedirs(scratch, exist_ok=True)
        lines = ["set -e", "mount --make-rprivate /", f"mount -t tmpfs tmpfs {scratch}",
                 f"mkdir {scratch}/upper {scratch}/work {root}"]
        if self.image.get("folder"):
            lines.append(f"cp -a {shlex.quote(self.image['folder'])}/. {scratch}/upper/")
        below = shlex.quote(self.image.get("root", "/"))
        lines.append(f"mount -t overlay overlay -o lowerdir={below},upperdir={scratch}/upper,"
                     f"workdir={scratch}/work {root}")
        for point in other_mounts():
            lines.append(f"if [ -e {root}{point} ]; then mount --rbind {point} {root}{point}; fi")
        lines += device_lines(root)
        lines += [f"hostname {shlex.quote(host_name)}", f"mount -t proc proc {root}/proc",
                  f"mkdir {root}{OLD}", f"cd {root}", f"pivot_root . .{OLD}", "cd /",
                  f"printf %s {shlex.quote(hosts)} > /etc/hosts.new",
                  "mv /etc/hosts.new /etc/hosts"]
        lines += self.message_lines()
        for mount in self.spec.get("volumeMounts") or ():
            lines += mount_lines(mount, volumes[mount["name"]])
        lines += self.last_lines(body, environment)
        return "\n".join(lines)

    def message_lines(self):
        """The lines that put the termination message's file in its place."""
        open(self.message, "w", encoding="utf-8").close()
        os.chmod(self.message, 0o666)
        target = shlex.quote(self.spec.get("terminationMessagePath", "/dev/termination-log"))
        return [f"mkdir -p $(dirname {target})", f": > {target}",
                f"mount --bind {shlex.quote(OLD + self.message)} {target}"]

    def last_lines(self, body, environment):
        """The lines that seal the root and start the command."""
        security = {**(body["spec"].get("securityContext") or {}),
                    **(self.spec.get("securityContext") or {})}
        place = shlex.quote(self.spec.get("workingDir", "/"))
        lines = [f"mkdir -p {place}", f"umount -l {OLD}", f"rmdir {OLD}"]
        if security.get("readOnlyRootFilesystem"):
            lines.append("mount -o remount,bind,ro /")
        settings = " ".join(shlex.quote(f"{k}={v}") for k, v in environment.items())
        lines.append(f"exec {privileges(security)} env -i {settings} /bin/sh -c"
                     f" '{BECOME}' {place} \"$@\"")
        return lines

    async def start(self, script, words):
        """Starts the container; its output goes to the log."""
        if not words:
            raise fields.Missing("Error: no command specified")
        with open(self.log, "ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *BEGIN, script, *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": PATH}, start_new_session=True)

    async def started(self):
        """Waits until the command itself runs, so that signals are its own, or has ended."""
        while self.process.returncode is None:
            pid = self.first()
            with contextlib.suppress(OSError):
                if pid:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        if BECOME.encode() not in f.read():
                            return
            await asyncio.sleep(0.005)

    async def wait(self):
        """Waits for the end; sets code and number (of a signal)."""
        code = await self.process.wait()
        self.number = -code if code < 0 else 0
        self.code = 128 - code if code < 0 else code

    def first(self):
        """The process number of the container's first process, or None."""
        if self.process is None or self.process.returncode is not None:
            return None
        if self.inside is None:
            self.inside = child_of(self.process.pid)
        return self.inside

    def signal(self, number):
        """Signals the first process; SIGKILL is the end of all."""
        pid = self.first()
        try:
            if pid:
                os.kill(pid, number)
            elif number == signal.SIGKILL and self.process and self.process.returncode is None:
                self.process.kill()
        except ProcessLookupError:
            pass

    def members(self):
        """The process numbers of all that runs in the container."""
        pid = self.first()
        found = []
        if pid is None:
            return found
        space = os.readlink(f"/proc/{pid}/ns/pid")
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == space:
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def last_words(self):
        """The termination message."""
        with open(self.message, encoding="utf-8", errors="replace") as f:
            text = f.read(MESSAGE_LIMIT)
        policy = self.spec.get("terminationMessagePolicy")
        if not text and self.code and policy == "FallbackToLogsOnError":
            with open(self.log, "rb") as f:
                text = f.read()[-2048:].decode(errors="replace")
        return text or None


def device_lines(root):
    """The lines that give a root its /dev."""
    lines = [f"mount -t tmpfs tmpfs {root}/dev", f"mkdir {root}/dev/pts {root}/dev/shm",
             f"mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm",
             f"if [ -d /dev/pts ]; then mount --bind /dev/pts {root}/dev/pts; fi",
             f"ln -s pts/ptmx {root}/dev/ptmx", f"ln -s /proc/self/fd {root}/dev/fd"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        lines.append(f"ln -s /proc/self/fd/{number} {root}/dev/{name}")
    gpus = [name for name in os.listdir("/dev") if name.startswith("nvidia")]
    for name in (*DEVICES, *gpus):
        lines.append(f"if [ -c /dev/{name} ]; then : > {root}/dev/{name};"
                     f" mount --bind /dev/{name} {root}/dev/{name}; fi")
    return lines


def privileges(security):
    """The command that gives up what a security context takes away."""
    words = ["setpriv"]
    if security.get("runAsUser"):
        group = security.get("runAsGroup", 0)
        words += [f"--reuid={security['runAsUser']}", f"--regid={group}", "--clear-groups"]
    if security.get("allowPrivilegeEscalation") is False:
        words.append("--no-new-privs")
    if "ALL" in ((security.get("capabilities") or {}).get("drop") or ()):
        words += ["--inh-caps=-all", "--bounding-set=-all"]
    return " ".join(words) if len(words) > 1 else ""


def mount_lines(mount, source):
    """The lines that mount a volume where a container wants it."""
    target = shlex.quote(mount["mountPath"])
    source = OLD + (os.path.join(source, mount["subPath"]) if mount.get("subPath") else source)
    source = shlex.quote(source)
    lines = [f"if [ -d {source} ]; then mkdir -p {target}; elif [ -e {source} ]; then"
             f" mkdir -p $(dirname {target}); : > {target}; else mkdir -p {source} {target}; fi",
             f"mount --rbind {source} {target}"]
    if mount.get("readOnly"):
        lines.append(f"mount -o remount,bind,ro {target}")
    return lines


def child_of(pid):
    """The process whose parent is a process, or None."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as f:
                parent = int(f.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            return int(entry)
    return None
