"""kill -9 of carriers between virtual hosts, of mpirun and of a host: those that stand by take
over, no step is lost, no rank is started anew, and the state at the end is that of an undisturbed
run."""
import ctypes
import signal
import unittest

from reknit_test import (JobTest, chargpt, kill, process_state, processes_of, processes_with,
                         ranks_of, wait_for)

PACE = 10
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207


def carriers_of(status, hosts):
    """Whether one carrier of each host serves, and another stands by."""
    return len(status["carriers"]) == hosts == len(status["standby_carriers"])


def launched(job, launch):
    """{pid: command line} of what lives of a launch of carriers."""
    inside = processes_with(f"REKNIT_CARRIER_JOB={launch}")
    return {pid: line for pid, line in processes_of(job.name).items() if pid in inside}


def mpirun_of(job, launch):
    return [pid for pid, line in launched(job, launch).items()
            if line.split(" ")[0].rsplit("/", 1)[-1] in ("mpirun", "orterun")]


def processes_on(status, host):
    """Wardens first: what they watch dies with them."""
    workers = [w for w in status["workers"] if w["host"] == host]
    pids = [w["warden_pid"] for w in workers] + [w["pid"] for w in workers]
    pids += [r["pid"] for w in workers for r in w["ranks"]]
    carriers = status["carriers"] + status["standby_carriers"]
    return pids + [c["pid"] for c in carriers if c["host"] == host]


def hold(pid):
    """Stands still from now on, not by a signal and so for ever, as one does whose wire is dead."""
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, pid, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace of {pid}")
    wait_for(lambda: process_state(pid) == "t", f"{pid} to stand still")


class Carriers(JobTest):
    def start(self, hosts, *options, workers=4):
        folder = self.path("c")
        job = self.job("--workers", str(workers), "--virtual-hosts", str(hosts), *options, "--",
                       *chargpt(pace=PACE), checkpoints=folder)
        return job, folder

    def wait_standby(self, job, hosts, step=0, ranks=4):
        return job.wait_status(
            lambda s: s["step"] >= step and len(ranks_of(s)) == ranks and carriers_of(s, hosts),
            f"carriers that stand by on {hosts} hosts at step {step}")

    def ends_well(self, job, folder):
        self.ends_undisturbed(job, folder)
        self.assertEqual([e for e in job.events("recovered") if e["lost_steps"] != 0], [])
        self.assertEqual([e for e in job.events("recovered") if e["mode"] != "in_place"], [])

    def lose(self, pids_of, times=3):
        """Kills again and again what `pids_of` names; the ranks are the same all the time."""
        job, folder = self.start(2)
        status = self.wait_standby(job, 2)
        ranks = {r: o["pid"] for r, o in ranks_of(status).items()}
        for n in range(times):
            served, stood_by = status["carriers"][0]["job"], status["standby_carriers"][0]["job"]
            pids = pids_of(job, status)
            self.assertTrue(pids)
            kill(*pids)
            self.assertEqual(job.wait_event("recovered", n + 1)["carriers"], "standby")
            status = self.wait_standby(job, 2, status["step"] + 2)
            self.assertEqual({r: o["pid"] for r, o in ranks_of(status).items()}, ranks)
            self.assertEqual({c["job"] for c in status["carriers"]}, {stood_by})
            wait_for(lambda launch=served: not launched(job, launch), f"the end of {served}")
        self.ends_well(job, folder)

    def test_carrier_lost(self):
        self.lose(lambda _, status: [status["carriers"][-1]["pid"]])

    def test_mpirun_lost(self):
        self.lose(lambda job, status: mpirun_of(job, status["carriers"][0]["job"]))

    def test_carrier_hears_nothing(self):
        """One that does not stand still when a rank, or the carrier of the other host, is lost is
        killed, and holds nobody up."""
        job, folder = self.start(2)
        for n, lost in enumerate(("rank", "carrier")):
            status = self.wait_standby(job, 2, job.wait_step(0)["step"] + 2)
            silent, other = (c["pid"] for c in status["carriers"])
            kill(silent, number=signal.SIGSTOP)
            kill(ranks_of(status)[0]["pid"] if lost == "rank" else other)
            job.wait_event("recovered", n + 1)
            wait_for(lambda pid=silent: not process_state(pid), "its end")
        self.wait_standby(job, 2, job.wait_step(0)["step"] + 2)
        self.ends_well(job, folder)

    def test_carrier_stopped(self):
        """It is killed, though nothing else is lost, and so is one that stands by."""
        job, folder = self.start(2)
        status = self.wait_standby(job, 2)
        waits, serves = status["standby_carriers"][0], status["carriers"][0]
        kill(waits["pid"], number=signal.SIGSTOP)
        status = job.wait_status(lambda s: carriers_of(s, 2) and
                                 s["standby_carriers"][0]["job"] > waits["job"], "another launch")
        self.assertEqual(job.events("recovered"), [])
        kill(serves["pid"], number=signal.SIGSTOP)
        self.assertEqual(job.wait_event("recovered")["carriers"], "standby")
        self.wait_standby(job, 2, job.wait_step(0)["step"] + 2)
        self.ends_well(job, folder)

    def test_no_sum_comes(self):
        """Everybody lives, and yet nothing moves between the hosts: with --stall-timeout others
        carry on, with the same ranks."""
        job, folder = self.start(2, "--stall-timeout", "1s")
        status = self.wait_standby(job, 2)
        ranks = {r: o["pid"] for r, o in ranks_of(status).items()}
        hold(status["carriers"][0]["pid"])
        self.assertEqual(job.wait_event("recovered")["carriers"], "standby")
        status = self.wait_standby(job, 2, job.wait_step(0)["step"] + 2)
        self.assertEqual({r: o["pid"] for r, o in ranks_of(status).items()}, ranks)
        self.assertIn("no program kept it waiting", job.output())
        self.ends_well(job, folder)

    def test_standby_lost(self):
        """Nothing stops, and others stand by."""
        job, folder = self.start(2)
        status = self.wait_standby(job, 2)
        for lost in ("carrier", "mpirun"):
            launch = status["standby_carriers"][0]
            kill(*([launch["pid"]] if lost == "carrier" else mpirun_of(job, launch["job"])))
            status = job.wait_status(lambda s, old=launch["job"]: carriers_of(s, 2) and
                                     s["standby_carriers"][0]["job"] > old, "another launch")
        self.assertEqual(len(job.events("generation_started")), 1)
        self.ends_well(job, folder)
        self.assertEqual(job.events("recovered"), [])

    def test_both_lost(self):
        """Then the carriers are launched again."""
        job, folder = self.start(2)
        status = self.wait_standby(job, 2)
        kill(status["standby_carriers"][0]["pid"], status["carriers"][0]["pid"])
        self.assertIn(job.wait_event("recovered")["carriers"], ("relaunch", "standby"))
        self.wait_standby(job, 2, status["step"] + 2)
        self.ends_well(job, folder)

    def test_host_lost(self):
        """The one of three on which no mpirun is: the others go on over those that stood by."""
        job, folder = self.start(3, workers=3)
        status = self.wait_standby(job, 3, ranks=3)
        with_mpirun = {status["workers"][0]["host"], status["workers"][-1]["host"]}
        host = next(w["host"] for w in status["workers"] if w["host"] not in with_mpirun)
        kill(*processes_on(status, host))
        self.assertEqual(job.wait_event("recovered")["carriers"], "standby")
        self.wait_standby(job, 3, status["step"] + 2, ranks=3)
        self.ends_well(job, folder)

    def test_coordinator_lost(self):
        """The next one knows those that stand by."""
        job, folder = self.start(2)
        status = self.wait_standby(job, 2)
        stood_by = status["standby_carriers"][0]["job"]
        kill(status["coordinator_pid"])
        status = job.wait_status(lambda s: s["epoch"] > status["epoch"] and carriers_of(s, 2)
                                 and s["step"] > status["step"] + 2, "another coordinator")
        self.assertEqual(status["standby_carriers"][0]["job"], stood_by)
        kill(status["carriers"][0]["pid"])
        job.wait_status(lambda s: s["carriers"] and s["carriers"][0]["job"] == stood_by,
                        "those that stood by serve")
        self.ends_well(job, folder)

    def test_without(self):
        job, folder = self.start(2, "--standby-carriers", "no")
        status = job.wait_status(lambda s: s["step"] > 20 and len(s["carriers"]) == 2, "carriers")
        self.assertEqual(status["standby_carriers"], [])
        kill(status["carriers"][0]["pid"])
        self.assertEqual(job.wait_event("recovered")["carriers"], "relaunch")
        self.ends_well(job, folder)


if __name__ == "__main__":
    unittest.main()
