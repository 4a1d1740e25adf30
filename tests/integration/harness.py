"""Starts target daemons and runs the initiator against them, for the tests in this folder.

Every process gets an ephemeral port, its own folder and a time limit; what is left at the end of a
test is killed by its process id. A target must end by SIGTERM with status 0 and no MR in use.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ.get("MRPOOL_BIN", "build/dev/bin"))
if not (BIN / "mrpool-nvmf-target").exists():
    sys.exit(f"no programs in {BIN}; build them, or say with MRPOOL_BIN where they are")
NQN = "nqn.2026-11.org.mrpool:test"
IQN = "iqn.2026-11.org.mrpool:test"
# Sanitizers and busy machines make everything slower; no test depends on how long something takes,
# only on whether it ends. ctest ends a test after 300 s.
PATIENCE = int(os.environ.get("MRPOOL_PATIENCE", "180"))
# For daemons whose memory is measured: AddressSanitizer would keep 256 MiB of what was freed.
MEASURED = {**os.environ, "ASAN_OPTIONS": ":".join(filter(None, (
    os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1", "thread_local_quarantine_size_kb=64")))}


def resident(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid):
    """How many are open, but for pipes: UBSan opens one whenever it wants to know whether memory is
    there, and nothing of a connection is one."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += not os.readlink(f"/proc/{pid}/fd/{name}").startswith("pipe:")
        except FileNotFoundError:
            pass  # closed meanwhile
    return count


def connections(port, peer=None):
    """How many TCP connections to this port are established (from that port only, with `peer`)."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [line.split()[1:4] for line in lines]
    return sum(own.endswith(f":{port:04X}") and state == "01" and
               (peer is None or other.endswith(f":{peer:04X}")) for own, other, state in ends)


def until(condition, explain):
    """Waits until it holds; `explain` says what was waited for, and what there is instead."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(explain())
        time.sleep(0.02)


class Target:
    """A running mrpool-nvmf-target, of one subsystem or of what the file `config` says."""

    program = ["mrpool-nvmf-target", "--subnqn", NQN]

    def __init__(self, folder, *options, host="127.0.0.1", port=0, device="", config=None,
                 env=None):
        self.host = host
        self.log_path = pathlib.Path(folder) / f"target-{time.monotonic_ns()}.log"
        served = ["--config", config] if config else [
            "--listen", f"uiwarp://{host}:{port}{device}", *self.program[1:]]
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([BIN / self.program[0], *served, *map(str, options)],
                                            stdout=log, stderr=subprocess.STDOUT, env=env)
        self.address = self._wait_for_address()
        self.port = int(self.address.rsplit(":", 1)[1])

    def _wait_for_address(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(r"uiwarp://127\.[0-9.]+:[1-9][0-9]*", self.output())
            if found:
                return found.group()
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the target did not start:\n{self.output()}")

    def output(self):
        return self.log_path.read_text()

    def reload(self):
        """SIGHUP; returns what the target says of it."""
        before = len(self.output())
        self.process.send_signal(signal.SIGHUP)
        until(lambda: re.search(r"^reload.*\n", self.output()[before:], re.M),
              lambda: f"the target says nothing of SIGHUP:\n{self.output()}")
        return self.output()[before:]

    def kill(self):
        """As if the machine had lost power."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


class IserTarget(Target):
    """A running mrpool-iser-target."""

    program = ["mrpool-iser-target", "--target", IQN]


class TargetTest(unittest.TestCase):
    """A test with a folder of its own and targets that end clean."""

    target_class = Target
    host_program = "mrpool-nvmf"
    storage = ["--namespace", "ram:1MiB"]
    name = ["--subnqn", NQN]

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="mrpool-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def target(self, *options, **more):
        target = self.target_class(self.folder, *options, **more)
        self.addCleanup(self._end, target)
        return target

    def _end(self, target):
        if target.process.poll() is not None:
            return  # the test ended it itself
        try:
            status = target.stop()
        finally:
            target.kill()
        self.assertEqual(status, 0, f"the target's exit status:\n{target.output()}")
        self.assertRegex(target.output(), r"MRs in use: 0 ", target.output())

    def file(self, name, size):
        path = self.folder / name
        with open(path, "wb") as file:
            file.truncate(size)
        return path

    def start(self, command, target, *options, **popen):
        address = target if isinstance(target, str) else target.address
        return subprocess.Popen([BIN / self.host_program, command, address, *map(str, options)],
                                **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen})

    def run_host(self, command, target, *options, expect=0, **popen):
        """Runs the initiator; returns (stdout, stderr)."""
        data = popen.pop("data", None)
        if data is not None:
            popen["stdin"] = subprocess.PIPE
        process = self.start(command, target, *options, **popen)
        try:
            out, err = process.communicate(data, timeout=PATIENCE)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.assertEqual(process.returncode, expect,
                         f"{command} {options}: {err.decode()}{out.decode(errors='replace')[-2000:]}")
        return out, err.decode()

    def refused(self, program, *options, expect=2):
        """Runs `program` with a mistake on its command line; returns what it says of it."""
        run = subprocess.run([BIN / program, *map(str, options)], capture_output=True,
                             stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        said = run.stderr.decode()
        self.assertEqual(run.returncode, expect, f"{program} {options}: {said}")
        self.assertEqual(said.count("\n"), 1, said)
        return said

    def check_full_output(self, *commands):
        """Results that nobody got are an error, whatever became of the work."""
        for command, *options in commands:
            with open("/dev/full", "wb") as full:
                run = subprocess.run([BIN / self.host_program, command, *map(str, options)],
                                     stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE,
                                     check=False)
            self.assertEqual(run.returncode, 1, run.stderr.decode())
            self.assertIn("No space left", run.stderr.decode())

    def check_interrupted_input(self, signal_number, status):
        """A pipe that brings nothing must not keep a program that was told to end."""
        target = self.target(*self.storage)
        process = self.start("write", target, *self.name, stdin=subprocess.PIPE)
        self.addCleanup(process.kill)
        time.sleep(0.5)  # it waits for input by now; earlier the signal's own action ends it
        process.send_signal(signal_number)
        process.wait(timeout=PATIENCE)
        process.communicate()
        self.assertIn(process.returncode, (status, -signal_number))

    def perf(self, target, *options, expect=0):
        """Runs perf; returns its one, merged job and the program's own figures."""
        out, _ = self.run_host("perf", target, *self.name, "--output-format", "json",
                               "--group_reporting", "--eta", "never", *options, expect=expect)
        return self.job_of(out)

    def job_of(self, out):
        document = json.loads(out)
        self.assertEqual(len(document["jobs"]), 1)
        return document["jobs"][0], document["mrpool"]

    def assert_verified(self, job, own):
        self.assertEqual(job["verify_errors"], 0, job)
        self.assertEqual(job["io_errors"], 0, job)
        self.assertGreater(job["verified"], 0)
        self.assertGreater(own["keys"], 0)
        self.assertEqual(own["mrs_in_use"], 0)


    def verified_under_adversarial_placement(self, *storage, loads):
        """Both sides under the ordering sanitizer: for each seed and (block size, depth) a verified
        load without an error, and a report that says that data was withheld. A load is a number of
        I/Os, 256, so that a slow machine does as many. MRPOOL_SANITIZER_SEEDS says how many seeds."""
        report = re.compile(r"ordering sanitizer, seed=(\d+): withheld (\d+) bytes in (\d+) chunks, "
                            r"(\d+) of them out of order, the longest for ([\d.]+ ms); "
                            r"(\d+) regions opted out")
        seeds = int(os.environ.get("MRPOOL_SANITIZER_SEEDS", "3"))
        verified = withheld = reordered = 0
        for seed in range(1, seeds + 1):
            device = f"?placement=adversarial&seed={seed}"
            target = self.target(*storage, device=device)
            said = ""
            for kib, depth in loads:
                out, err = self.run_host(
                    "perf", target.address + device, *self.name, "--rw", "randrw", "--bs",
                    f"{kib}k", "--iodepth", depth, "--size", f"{256 * kib}k", "--verify", "crc32c",
                    "--output-format", "json", "--group_reporting", "--eta", "never")
                job, own = self.job_of(out)
                self.assert_verified(job, own)
                verified += job["verified"]
                said += err
            self._end(target)
            reports = report.findall(said + target.output())
            self.assertEqual(len(reports), len(loads) + 1, said + target.output())
            for number, size, _, mixed, _, opted_out in reports:
                self.assertEqual(int(number), seed)
                self.assertGreater(int(size), 0)
                self.assertGreater(int(mixed), 0)
                self.assertEqual(int(opted_out), 0)
                withheld += int(size)
                reordered += int(mixed)
        print(f"{seeds} seeds: {verified} blocks verified, {withheld >> 20} MiB withheld, "
              f"{reordered} chunks out of order, no error")


class IserTargetTest(TargetTest):
    """The same with the iSER daemon and its initiator."""

    target_class = IserTarget
    host_program = "mrpool-iser"
    storage = ["--lun", "ram:1MiB"]
    name = ["--target", IQN]
