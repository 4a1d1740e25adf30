"""Starts target daemons and runs the initiator against them, for the tests in this folder.

Every process gets an ephemeral port, its own folder and a time limit; what is left at the end of a
test is killed by its process id. A target must end by SIGTERM with status 0 and no MR in use.
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
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
                 env=None, descriptors_limit=None):
        self.host = host
        self.log_path = pathlib.Path(folder) / f"target-{time.monotonic_ns()}.log"
        served = ["--config", config] if config else [
            "--listen", f"uiwarp://{host}:{port}{device}", *self.program[1:]]

        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_limit, descriptors_limit))

        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([BIN / self.program[0], *served, *map(str, options)],
                                            stdout=log, stderr=subprocess.STDOUT, env=env,
                                            preexec_fn=limit if descriptors_limit else None)
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
    silent = r"no answer within \S+ to Read"
    storage = ["--namespace", "ram:1MiB"]
    large_storage = ["--namespace", "ram:64MiB"]
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

    def expect_said(self, target, text):
        """A daemon writes what it says of its peers on a thread of its own, so they may know it first."""
        until(lambda: text in target.output(), lambda: f"not said: {text}\n{target.output()}")

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

    def fail_writes_beyond(self, target, size):
        """From here on the kernel refuses what `target` writes beyond `size` bytes of a file."""
        resource.prlimit(target.process.pid, resource.RLIMIT_FSIZE, (size, size))

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
            run = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", BIN / self.host_program, command,
                                  *map(str, options)], capture_output=True, timeout=PATIENCE,
                                 check=False)
            self.assertEqual(run.returncode, 1, run.stderr.decode())
            self.assertIn("Bad file descriptor", run.stderr.decode())

    def check_marked_blocks(self, why):
        """Marks outlive the daemon, and a write removes them; `why` is what a read is told."""
        state = self.folder / "state"
        state.mkdir()
        served = [*self.storage[:1], f"file:{self.file('disk', 1 << 20)},bs=4096", "--state-dir", state]
        target = self.target(*served)
        region = ["--offset", "64KiB", "--size", "8KiB"]
        for wrong, word in (([], "--size is missing"), (["--size", "5000"], "--size 5000"),
                            (["--offset", "1MiB", "--size", "4KiB"], "--offset 1048576")):
            _, err = self.run_host("write-uncorrectable", target, *self.name, *wrong, expect=2)
            self.assertIn(word, err)
        _, err = self.run_host("write-uncorrectable", target, *self.name, *region)
        self.assertIn("marked 8KiB (8192 bytes) at offset 65536", err)
        target.kill()
        target = self.target(*served)
        _, err = self.run_host("read", target, *self.name, "--offset", "68KiB", expect=1)
        self.assertIn(why, err)
        self.run_host("read", target, *self.name, "--size", "64KiB")
        self.run_host("write", target, *self.name, *region, data=b"x" * 8192)
        out, _ = self.run_host("read", target, *self.name, *region)
        self.assertEqual(out, b"x" * 8192)
        self.assertEqual(list(state.glob("bad-*")), [])
        self._end(target)
        # What is unreadable is not ignored.
        target = self.target(*served)
        self.run_host("write-uncorrectable", target, *self.name, *region)
        self._end(target)
        kept, = state.glob("bad-*")
        kept.write_text("nonsense\n")
        program, *names = self.target_class.program
        said = self.refused(program, *names, "--listen", "uiwarp://127.0.0.1:0", *served, expect=1)
        self.assertIn(f"{kept}: the kept marks", said)

    def check_state_directory_keeps_uuids(self, place, shown):
        """A store keeps the UUID that it was given first; `shown` is what a host sees of it."""
        state = self.folder / "state"
        state.mkdir()
        disk = self.file("disk", 1 << 20)
        served = [*self.storage[:1], f"file:{disk}", "--state-dir", state]
        target = self.target(*served)
        uuid = re.search(rf"{place}: .*, UUID (\S+)", target.output()).group(1)
        self.assertEqual(shown(target), uuid.replace("-", ""))
        self._end(target)
        # As if it had been derived in another way then.
        kept = uuid[:-4] + "beef"
        stores = state / "stores"
        stores.write_text(stores.read_text().replace(uuid, kept))
        target = self.target(*served)
        self.assertIn(f"UUID {kept}", target.output())
        self.assertEqual(shown(target), kept.replace("-", ""))
        self._end(target)
        # Another file is another disk, and that is said once.
        os.replace(self.file("other", 1 << 20), disk)
        for told in (1, 0):
            target = self.target(*served)
            self.assertNotIn(f"UUID {kept}\n", target.output())
            self.assertEqual(target.output().count("is another store than was served"), told)
            self._end(target)
        # Who copied it says so.
        target = self.target(self.storage[0], f"file:{disk},uuid={kept}", "--state-dir", state)
        self.assertEqual(shown(target), kept.replace("-", ""))
        self._end(target)
        stores.write_text("nonsense\n")
        program, *names = self.target_class.program
        said = self.refused(program, *names, "--listen", "uiwarp://127.0.0.1:0", *served, expect=1)
        self.assertIn(f"{stores}: line 1 is unreadable", said)

    def check_listening_is_retried(self):
        """A port that is taken is an error, unless the daemon is told to try again."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"uiwarp://127.0.0.1:{taken.getsockname()[1]}"
            program, *served = self.target_class.program
            served += ["--listen", address, *self.storage]
            refusal = self.refused(program, *served, expect=1)
            self.assertIn("in use", refusal)
            self.assertEqual(refusal.count(address), 1, refusal)
            target = self.target(*self.storage, "--listen", address, "--retry-listen")
            self.assertIn(f"not yet listening on {address}: Address already in use", target.output())
        until(lambda: f"\nlistening on {address}\n" in target.output(), target.output)
        return target, address

    def limited(self, program, *options, limit):
        """Starts a program that may have so many file descriptors."""
        return subprocess.Popen(
            [BIN / program, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # UBSan asks a pipe whether memory is there, and takes having none for a no;
            # LeakSanitizer needs descriptors for its report.
            env=os.environ | {"UBSAN_OPTIONS": "halt_on_error=0", "ASAN_OPTIONS": "detect_leaks=0"},
            # The hard limit too: programs raise the soft one.
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))

    def check_names_descriptors(self, said, limit):
        self.assertIn(f"no file descriptor is left of the {limit} that this process may have: raise "
                      "the limit (ulimit -n", said)

    def check_silent_target_is_named(self):
        target = self.target(*self.storage)
        load = self.start("perf", target, *self.name, "--time_based", "--runtime", "600",
                          "--timeout", "5s", "--eta", "always")  # a busy target answers by then
        self.addCleanup(load.kill)
        load.stderr.readline()
        target.process.send_signal(signal.SIGSTOP)
        try:
            out, err = load.communicate(timeout=PATIENCE)
        finally:
            target.process.send_signal(signal.SIGCONT)
        self.assertEqual(load.returncode, 3, err.decode())
        self.assertRegex(out.decode(), self.silent)

    def check_target_killed_while_it_is_written(self):
        """The write ends with what ended the connection, whatever was under way."""
        for _ in range(4):
            target = self.target(*self.storage)
            process = self.start("write", target, *self.name, stdin=subprocess.PIPE)
            self.addCleanup(process.kill)
            process.stdin.write(bytes(512 << 10))
            process.stdin.flush()
            until(lambda: connections(target.port) >= 1, lambda: "nobody connects")
            time.sleep(0.1)
            target.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(bytes(512 << 10))
            _, err = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 3, err.decode())
            self.assertIn(target.address, err.decode())

    def check_target_killed_while_it_is_read(self):
        """A lost connection has one status, whatever was under way."""
        for _ in range(4):
            target = self.target(*self.large_storage)
            process = self.start("read", target, *self.name)
            self.addCleanup(process.kill)
            process.stdout.read(1 << 20)
            target.kill()
            _, err = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 3, err.decode())
            self.assertIn(target.address, err.decode())

    def check_replaced_while_it_is_used(self, configure, cause):
        """Another store in the place of the one in use is the cause that a load ends with.

        `configure(file)` writes and returns a configuration that serves the file."""
        config = configure(self.file("disk", 8 << 20))
        target = self.target(config=config)
        process = self.start("perf", target, *self.name, "--rw", "randrw", "--iodepth", "8",
                             "--time_based", "--runtime", "600", "--verify", "crc32c", "--eta",
                             "always")
        self.addCleanup(process.kill)
        process.stderr.readline()  # the first line of a load that runs
        other = self.file("other", 8 << 20)
        configure(other)
        self.assertIn("reloaded", target.reload())
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, err.decode())
        self.assertIn(cause, err.decode().splitlines()[-1])
        self.assertIn(" 0 verification errors", out.decode())
        self.assertEqual(other.read_bytes(), bytes(8 << 20), "not a byte goes to the other one")

    def check_equal_mistakes(self):
        """What does not fit is a mistake of the caller's, in every command; nothing is written."""
        target = self.target(*self.storage)
        for command, options, data in (
                ("read", ["--offset", "2MiB"], None), ("read", ["--size", "2MiB"], None),
                ("read", ["--offset", "5"], None), ("write", ["--offset", "2MiB"], b"x" * 4096),
                ("write", ["--offset", "5"], b"x" * 4096), ("write", [], bytes(2 << 20)),
                ("write", ["--input", self.file("large", 2 << 20)], None),
                ("write", ["--input", self.folder], None), ("read", ["--output", self.folder], None),
                ("write", ["--input", self.file("empty", 0)], None), ("write", [], b""),
                ("perf", ["--offset", "2MiB"], None), ("perf", ["--size", "2MiB"], None),
                ("perf", ["--bs", "5"], None), ("read", ["--bs", "5"], None),
                ("write", ["--bs", "5"], b"x" * 4096), ("write", ["--iodepth", "0"], b"x" * 4096)):
            _, err = self.run_host(command, target, *self.name, *options, data=data, expect=2)
            self.assertEqual(err.count("\n"), 1, err)
            if b"" == data or "empty" in str(options):
                self.assertIn("the input is empty", err)

    def check_equal_copies(self):
        """Copies have chunks under way in the file's order, show progress, and end with a summary."""
        target = self.target(*self.storage)
        data = os.urandom((1 << 20) - 1000)
        pace = ("--bs", "16k", "--iodepth", "5", "--eta")
        _, err = self.run_host("write", target, *self.name, *pace, "always", data=data)
        summary = r"%s \S+ \(%u bytes\) at offset 0 of \S+ \d+ in \S+, \S+/s\n"
        self.assertRegex(err, r"\r\x1b\[K[^\r]+/s\r.*" + summary % ("wrote", len(data)))
        out, err = self.run_host("read", target, *self.name, *pace, "never", "--size", len(data))
        self.assertEqual(out, data)
        self.assertRegex(err, "^" + summary % ("read", len(data)))

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
    silent = r"no answer within \S+ to READ\(16\)"
    storage = ["--lun", "ram:1MiB"]
    large_storage = ["--lun", "ram:64MiB"]
    name = ["--target", IQN]
