"""What the end-to-end tests stand on: a job of the real command line in a folder of its own.

A test derives from JobTest.  Every job it starts gets a private TMPDIR, XDG_RUNTIME_DIR and name,
and is followed through its events and `status --json`.  When the test ends, nothing of its jobs may
be left: no process, nothing in /dev/shm, no file in the temporary folders, no sanitizer's report.
A test that is killed takes its jobs with it.

REKNIT_BUILD names the build folder (default: build/release of this tree).
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
CHARGPT = os.path.join(BUILD, "bin", "chargpt")
SANITIZED = "asan" in os.path.basename(BUILD)
DEADLINE = 180 if SANITIZED else 90  # no job of these tests takes longer; one that does hangs
STATUS_PAUSE = 0.1  # a look is a process of its own, and takes from the job's time
ENDED = (None, "Z", "X")
OURS = ("reknit", "rk-", "ompi.", "openmpi-sessions", "pmix", "vader")  # what we make in /tmp
# Said by the leak check of a thread that ends while it looks.
THREAD_ENDED = "Unable to get registers from thread"


def program(name):
    """A test program's path (tests/programs)."""
    return os.path.join(BUILD, "tests", name)


def wait_for(condition, what, deadline=DEADLINE, pause=0.01):
    """The first true value of condition(); fails when there is none before the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s in vain: {what}")
        time.sleep(pause)


def process_state(pid):
    """The letter in /proc/PID/stat, None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def kill(*pids, number=signal.SIGKILL):
    """Signals all pids at once; one that has ended already is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def processes_with(setting):
    """{pid: command line} of all living processes with NAME=VALUE in their environment."""
    found = {}
    mark = setting.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as f:
                inside = mark in f.read().split(b"\0")
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if inside and process_state(entry) not in ENDED:
            found[int(entry)] = line
    return found


def processes_of(job):
    """{pid: command line} of all living processes of a job."""
    return processes_with(f"REKNIT_JOB={job}")


def is_named(entry, name):
    """Whether a name stands in a file's name as a word of its own."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", entry) is not None


def is_mapped(path):
    """Whether a living process still maps a file of /dev/shm."""
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/maps", encoding="utf-8", errors="replace") as f:
                if path in f.read():
                    return True
    return False


def files_under(folder):
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]


class Job:
    """One `reknit run`, started by JobTest.job()."""

    def __init__(self, test, name, command, prefix):
        self.test = test
        self.name = name
        self.prefix = list(prefix)
        self.folder = os.path.join(test.folder, name + "." + str(len(test.jobs)))
        os.makedirs(self.folder)
        self.event_path = os.path.join(self.folder, "events")
        self.out_path = os.path.join(self.folder, "out")
        line = ["setpriv", "--pdeathsig", "KILL", *self.prefix, REKNIT, "run", "--name", name,
                "--events", self.event_path, *command]
        with open(self.out_path, "wb") as out:
            self.process = subprocess.Popen(line, cwd=self.folder, env=test.environment,
                                            stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT)

    # ---- what is seen of it

    def output(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def events(self, name=None):
        try:
            with open(self.event_path, encoding="utf-8") as f:
                lines = f.read().split("\n")[:-1]  # the last one may be half written
        except FileNotFoundError:
            return []
        events = [json.loads(line) for line in lines]
        return [e for e in events if name is None or e["event"] == name]

    def status(self):
        """The object of `reknit status --json`, None while nobody answers."""
        line = [*self.prefix, REKNIT, "status", "--json", self.name]
        run = subprocess.run(line, env=self.test.environment, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, timeout=DEADLINE, check=False)
        return json.loads(run.stdout) if run.returncode == 0 else None

    def wait_status(self, predicate, what, deadline=DEADLINE):
        """The first status for which predicate holds; fails early when the job ends before."""

        def look():
            status = self.status()
            if status and predicate(status):
                return status
            if self.process.poll() is not None:
                raise AssertionError(f"job ended with {self.process.returncode} before: {what}"
                                     f"\n{self.output()}")
            return None

        return wait_for(look, f"{what}\n{self.output()}", deadline, STATUS_PAUSE)

    def wait_step(self, step):
        return self.wait_status(lambda s: s["step"] >= step, f"step {step}")

    def wait_whole(self, count, step=0):
        """A status with `count` ranks that all run, at `step` or later."""
        return self.wait_status(lambda s: s["step"] >= step and len(ranks_of(s)) == count
                                and all(is_running(r) for r in ranks_of(s).values()),
                                f"{count} running ranks at step {step}")

    def wait_event(self, name, count=1, deadline=DEADLINE):
        """The count-th event of a name."""
        what = f"event {name} number {count}"
        return wait_for(lambda: self.events(name)[count - 1:count], what, deadline)[0]

    def wait(self, deadline=DEADLINE):
        """The exit code; a job that does not end is a failure."""
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"job {self.name} does not end; status {self.status()}\n"
                                 f"{self.output()}") from None

    def pids_of_command(self, name):
        """Processes of the job whose program is called so ("mpirun")."""
        lines = processes_of(self.name).items()
        return [pid for pid, line in lines if os.path.basename(line.split(" ")[0]) == name]

    # ---- what must hold

    def finishes(self, code=0):
        """Asserts the exit code and returns the job."""
        got = self.wait()
        self.test.assertEqual(got, code, f"exit code of job {self.name}\n{self.output()}")
        if code == 0:
            finished = self.events("job_finished")
            self.test.assertEqual([e["exit_code"] for e in finished], [0])
        return self

    def stops(self):
        """Stops the job in good order when the test has seen what it wanted; returns the step that
        it ends at."""
        kill(self.process.pid, number=signal.SIGTERM)
        self.finishes(143)
        return self.events("checkpoint_committed")[-1]["step"]

    def recovered_in_place(self, losses):
        """Asserts that each of at least `losses` losses was recovered in place, no step lost."""
        recovered = self.events("recovered")
        bad = [e for e in recovered if e["mode"] != "in_place" or e["lost_steps"] != 0]
        self.test.assertEqual(bad, [])
        seen = sum(e["losses"] for e in recovered)
        self.test.assertGreaterEqual(seen, losses, f"losses inside recovered: {recovered}")
        for event in recovered:
            self.test.assertGreaterEqual(event["recover_ms"], 0)


def ranks_of(status):
    """{rank: its object, with the worker's id and host} of a status."""
    ranks = {}
    for worker in status["workers"]:
        for rank in worker["ranks"]:
            ranks[rank["rank"]] = {**rank, "worker": worker["id"], "host": worker["host"],
                                   "agent": worker["pid"]}
    return ranks


def is_running(rank):
    return rank["pid"] > 0 and process_state(rank["pid"]) not in ENDED and rank["generation"] > 0


class JobTest(unittest.TestCase):
    """A test with a folder of its own that leaves nothing behind."""

    references = {}

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rk", dir="/tmp")
        self.jobs = []
        self.shared_before = set(os.listdir("/dev/shm"))
        self.temporary = os.path.join(self.folder, "t")
        self.runtime = os.path.join(self.folder, "r")
        for path in (self.temporary, self.runtime):
            os.mkdir(path, 0o700)
        self.environment = {**os.environ, "TMPDIR": self.temporary,
                            "XDG_RUNTIME_DIR": self.runtime, "NO_COLOR": "1"}
        report = f"log_path={self.folder}/sanitizer"
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            given = self.environment.get(name)
            self.environment[name] = f"{given}:{report}" if given else report
        self.environment["ASAN_OPTIONS"] += ":fast_unwind_on_malloc=0:abort_on_error=0"

    def tearDown(self):
        try:
            self.nothing_left()
        finally:
            for job in self.jobs:
                kill(*processes_of(job.name), *processes_with(f"TMPDIR={self.temporary}"))
                if job.process.poll() is None:
                    job.process.kill()
                job.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def nothing_left(self):
        for job in self.jobs:
            if job.process.poll() is None:
                raise AssertionError(f"job {job.name} still runs at the end of its test\n"
                                     f"{job.output()}")
        names = {job.name for job in self.jobs}
        left = []

        def clean():
            ours = processes_with(f"TMPDIR={self.temporary}")
            for name in names:
                ours.update(processes_of(name))
            left[:] = [f"process {pid}: {line}" for pid, line in ours.items()]
            left.extend(files_under(self.temporary) + files_under(self.runtime))
            left.extend("/tmp/" + e for e in os.listdir("/tmp")
                        if e.startswith(OURS) and any(is_named(e, n) for n in names))
            new = set(os.listdir("/dev/shm")) - self.shared_before
            new = {e for e in new if not os.path.isdir("/dev/shm/" + e)}  # the unit tests' folders
            left.extend("/dev/shm/" + e for e in new if not is_mapped("/dev/shm/" + e))
            return not left

        with contextlib.suppress(AssertionError):
            wait_for(clean, "nothing left", 20)
        self.assertEqual(left, [], "left behind")
        for name in os.listdir(self.folder):
            if name.startswith("sanitizer"):
                with open(os.path.join(self.folder, name), encoding="utf-8") as f:
                    said = [line for line in f if THREAD_ENDED not in line]
                self.assertEqual(said, [], "a sanitizer's words")

    def job(self, *command, name=None, checkpoints=None, prefix=()):
        """Starts `reknit run --name NAME --events FILE [--checkpoint-dir DIR] COMMAND...`."""
        name = name or f"t{os.getpid()}-{len(self.jobs)}"
        if checkpoints:
            command = ("--checkpoint-dir", checkpoints, *command)
        self.jobs.append(Job(self, name, command, prefix))
        return self.jobs[-1]

    def path(self, name):
        """A path inside the test's folder."""
        return os.path.join(self.folder, name)

    def reknit(self, *arguments, code=0):
        """Runs a command that ends by itself; asserts its exit code; returns its output."""
        run = subprocess.run([REKNIT, *arguments], env=self.environment, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=DEADLINE, cwd=self.folder,
                             check=False)
        self.assertEqual(run.returncode, code, f"reknit {' '.join(arguments)}\n{run.stdout}")
        return run.stdout

    def digest(self, folder):
        """The digest of the newest committed state: 64 hexadecimal digits."""
        text = self.reknit("checkpoint", "digest", folder).strip()
        self.assertRegex(text, "^[0-9a-f]{64}$")
        return text

    def ends_undisturbed(self, job, folder):
        """Stops a job without an end of its own: its state is that of an undisturbed run."""
        step = job.stops()
        self.assertEqual(self.digest(folder), self.reference(step))

    def storm(self, kills, draw, pause, *command, again=0):
        """Kills at random moments, whoever lives, in a job of four workers that has no end of its
        own and compares each sum with a serial one; `pause`: seconds between two kills at most.
        Never so many that nobody who has the state is left: a rank that only just started is no
        such one, and without them the steps since the last snapshot are rightly lost.  `again`:
        steps that a recovery may do again in place."""
        job = self.job("--workers", "4", "--max-restarts", str(kills * 4), *command)

        def victims():
            status = job.status() if job.process.poll() is None else None
            living = [r for r in ranks_of(status).values() if is_running(r)] if status else []
            return living if sum(r["step"] > 0 for r in living) >= 3 else None

        for done in range(kills):
            living = wait_for(lambda: victims() or job.process.poll() is not None,
                              "three ranks that have the state", pause=pause / 4)
            self.assertIsNone(job.process.poll(),
                              f"the job ended after {done} of {kills} kills\n{job.output()}")
            victim = draw.choice(living)
            kill(victim["agent" if draw.random() < 0.15 else "pid"])
            time.sleep(draw.uniform(0, pause))
        job.wait_whole(4, job.wait_step(0)["step"] + 2)
        kill(job.process.pid, number=signal.SIGTERM)
        job.finishes(143)
        self.assertEqual([e for e in job.events("recovered") if e["lost_steps"] > again], [],
                         "\n".join(str(e) for e in job.events()))

    def reference(self, steps, *options, workers=2, seed=1):
        """The digest of an undisturbed run; the same one for all tests of a file."""
        key = (steps, options, workers, seed)
        if key not in self.references:
            folder = self.path(f"reference-{steps}-{workers}-{seed}")
            self.job("--workers", str(workers), *options, "--", *chargpt(steps, seed=seed),
                     checkpoints=folder).finishes()
            self.references[key] = self.digest(folder)
        return self.references[key]


def chargpt(steps=1000000, pace=0, seed=1):
    """The command of a small training job on real text, always the same text; without an end unless
    `steps` says one.  `pace`: milliseconds that each rank waits in a step."""
    line = [CHARGPT, "--size", "tiny", "--steps", str(steps), "--batch", "8", "--seed", str(seed)]
    return line + (["--pace", str(pace)] if pace else [])
