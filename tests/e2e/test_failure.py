"""Programs that fail, budgets that are spent, and programs that know nothing of reknit."""
import contextlib
import os
import signal
import unittest

from reknit_test import SANITIZED, JobTest, chargpt, kill, program, ranks_of, wait_for

CGROUPS = "/sys/fs/cgroup"
MEMORY = 400 << 20
# The first of its processes to come takes more than that; the next ones take nothing.
EATER = "mkdir eaten 2>/dev/null || exit 0; exec python3 -c 'bytearray(1 << 30)'"


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(str(text))


@contextlib.contextmanager
def memory_group(limit):
    """The folder of a cgroup with that much memory; None: none can be made here."""
    unified = os.path.exists(f"{CGROUPS}/cgroup.controllers")
    folder = f"{CGROUPS}{'' if unified else '/memory'}/reknit-test-{os.getpid()}"
    try:
        os.mkdir(folder)
    except OSError:
        yield None
        return
    try:
        write(f"{folder}/{'memory.max' if unified else 'memory.limit_in_bytes'}", limit)
    except OSError:  # the memory of groups is not counted here, or not ours to limit
        os.rmdir(folder)
        yield None
        return
    try:
        yield folder
    finally:
        wait_for(lambda: not open_procs(folder), "all of the group have ended")
        os.rmdir(folder)


def open_procs(folder):
    with open(f"{folder}/cgroup.procs", encoding="utf-8") as f:
        return f.read()


class Failure(JobTest):
    def fails(self, code, *arguments, workers="2", said=()):
        job = self.job("--workers", workers, "--", program("crasher"), *arguments)
        job.finishes(code)
        self.assertEqual([e["exit_code"] for e in job.events("job_finished")], [code])
        for word in said:
            self.assertIn(word, job.output())
        return job

    def test_exit_code_of_the_program(self):
        job = self.fails(7, "--at-step", "3", "--exit", "7", said=("rank", "crasher"))
        self.assertGreaterEqual(len(job.events("generation_started")), 3)

    def test_signal_is_128_and_more(self):
        number = 10 if SANITIZED else 11  # a sanitizer makes an exit code of SIGSEGV
        self.fails(128 + number, "--at-step", "3", "--signal", str(number), said=("rank",))

    def test_before_join(self):
        self.fails(3, "--before-join", "--exit", "3", said=("rank",))

    def test_all_ranks_at_once(self):
        self.fails(9, "--at-step", "2", "--exit", "9", workers="3", said=("rank",))

    def test_budget_spent(self):
        """A job that makes steps between its losses ends with 75 when the budget is spent."""
        job = self.job("--workers", "2", "--max-restarts", "2", "--", *chargpt(4000, 10))
        status = job.wait_whole(2, 3)
        for _ in range(2):
            kill(ranks_of(status)[1]["pid"])
            status = job.wait_whole(2, status["step"] + 3)
        kill(ranks_of(status)[1]["pid"])
        job.finishes(75)
        self.assertIn("max-restarts", job.output())

    def test_plain_program(self):
        job = self.job("--workers", "2", "--backend", "none", "--", program("plain"))
        job.finishes()
        for word in ("WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", f'"{job.name}"'):
            self.assertIn(word, job.output())

    def test_plain_program_fails(self):
        job = self.job("--workers", "2", "--backend", "none", "--", program("plain"),
                       "--exit", "5", "--rank", "1")
        job.finishes(5)

    def hangs(self, code, *arguments):
        """What became of whom, in a job that is told to end hanging ranks."""
        job = self.job("--workers", "3", "--stall-timeout", "2s", "--", program("crasher"),
                       "--hang", *arguments)
        job.finishes(code)
        return {(e["reason"], e["rank"], e["signal"]) for e in job.events("rank_exited")}, job

    def test_a_rank_that_hangs_is_ended(self):
        """Its program keeps control and nobody can go on: it is told to abort, and if it does not
        listen, killed.  The others, which wait, are left alone; no step is lost."""
        for ignored, number in ((), signal.SIGABRT), (("--signal", "6"), signal.SIGKILL):
            with self.subTest(number=number):
                lost, job = self.hangs(0, "--at-step", "5", "--rank", "1", *ignored)
                self.assertEqual({("stalled", 1, number)}, lost)
                self.assertIn("hung for too long and was killed", job.output())
                self.assertEqual([0], [e["lost_steps"] for e in job.events("recovered")])

    def test_a_program_that_always_hangs_fails(self):
        lost, _ = self.hangs(128 + signal.SIGABRT, "--at-step", "3")
        self.assertEqual({"stalled"}, {reason for reason, _, _ in lost})

    def test_who_holds_the_others_up_is_told(self):
        """Nobody is ended unless that was asked for."""
        job = self.job("--workers", "3", "--", program("crasher"), "--hang", "--at-step", "8",
                       "--rank", "1")

        def held(status):
            busy = {r: v["busy_s"] for r, v in ranks_of(status).items()}
            return len(busy) == 3 and busy[1] > 0.5 and busy[0] == busy[2] == 0

        kill(ranks_of(job.wait_status(held, "rank 1 is busy and the others wait"))[1]["pid"])
        job.finishes()

    def test_out_of_memory(self):
        with memory_group(MEMORY) as group:
            if group is None:
                self.skipTest(f"no cgroup with a limit of memory can be made under {CGROUPS}")
            job = self.job("--workers", "2", "--backend", "none", "--", "sh", "-c", EATER,
                           prefix=("sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"))
            job.finishes()
        lost = job.events("rank_exited")
        self.assertEqual([("out_of_memory", 9)], [(e["reason"], e["signal"]) for e in lost])
        self.assertIn("ran out of memory and was killed", job.output())

    def test_killed_is_not_out_of_memory(self):
        job = self.job("--workers", "2", "--", *chargpt(60, 20))
        kill(ranks_of(job.wait_whole(2, 3))[1]["pid"])
        job.finishes()
        self.assertEqual(["signal"], [e["reason"] for e in job.events("rank_exited")])


if __name__ == "__main__":
    unittest.main()
