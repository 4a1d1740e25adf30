#!/usr/bin/env python3
"""The daemons as services: their logs, and what a service manager and they tell each other. A part of
this script plays systemd: $NOTIFY_SOCKET, $WATCHDOG_USEC, $LISTEN_FDS, $CREDENTIALS_DIRECTORY. The
same tests for both daemons, one class a ctest (CMakeLists.txt)."""
import contextlib
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
import unittest
import urllib.request

from harness import BIN, IQN, NQN, PATIENCE, IserTargetTest, TargetTest, until
from json_rpc import Client, RpcError


class Logs:
    """Structured logs: who came, who left, who was refused, and what went wrong."""

    def entries(self, target):
        """The lines of stderr, which are JSON; those of stdout are not."""
        return [json.loads(line) for line in target.output().splitlines() if line.startswith("{")]

    def expect_entry(self, daemon, /, **fields):
        def matches(entry):
            return all(entry.get(key) == value for key, value in fields.items())
        until(lambda: any(map(matches, self.entries(daemon))),
              lambda: f"no entry {fields}:\n{daemon.output()}")
        return next(filter(matches, self.entries(daemon)))

    def test_entries_have_fields(self):
        target = self.target(*self.storage, "--log-format", "json")
        started = self.expect_entry(target, event="started", level="notice")
        self.assertRegex(started["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        came = self.expect_entry(target, event="host_connected", level="notice", host=self.host,
                                 target=self.served)
        self.assertRegex(came["peer"], r"^127\.0\.0\.1:\d+$")
        self.assertIn(self.host, came["message"])
        self.expect_entry(target, event="host_disconnected", host=self.host, target=self.served)

    def test_every_line_of_the_log_is_an_entry(self):
        """What a start and a reload warn of too."""
        path = self.folder / "kernel.json"
        path.write_text(json.dumps(self.kernels(self.file("disk", 1 << 20))))
        options = ["--import-transport", "uiwarp", "--log-format", "json", "--http", "0.0.0.0:0"]
        target = self.target(*options, config=path)
        note = self.expect_entry(target, event="import_note", level="warning")
        self.assertRegex(note["message"], r"^mrpool-\w+-target: warning: .*kernel.json: line \d+: ")
        self.expect_entry(target, event="status_exposed", level="warning")
        target.reload()
        until(lambda: sum(each["event"] == "import_note" for each in self.entries(target)) == 2,
              target.output)
        self.assertNotRegex(target.output(), r"(?m)^mrpool-")

    def test_changes_by_the_control_socket_are_entries(self):
        control = self.folder / "control"
        target = self.target(*self.storage, "--log-format", "json", "--control", control)
        client = Client(control, PATIENCE)
        self.addCleanup(client.close)
        client.call("mrpool_store_create", name="new", storage=f"file:{self.folder / 'new'},size=1MiB")
        with self.assertRaises(RpcError):
            client.call("mrpool_store_create", name="bad", storage="file:/nowhere/disk")
        done = self.expect_entry(target, event="changed", level="notice")
        self.assertIn("mrpool_store_create by process ", done["message"])
        refused = self.expect_entry(target, event="change_refused", level="warning")
        self.assertIn(": refused, ", refused["message"])
        made = self.expect_entry(target, event="store_created", level="notice")
        self.assertIn("new: created, 1MiB", made["message"])
        self.assertNotRegex(target.output(), r"(?m)^control: ")

    def test_another_disk_at_a_path_is_an_entry(self):
        disk, state = self.file("disk", 1 << 20), self.folder / "state"
        state.mkdir()
        options = [self.storage[0], f"file:{disk},bs=4096", "--state-dir", state, "--log-format", "json"]
        self._end(self.target(*options))
        os.rename(self.file("other", 1 << 20), disk)
        changed = self.expect_entry(self.target(*options), event="store_changed", level="warning")
        self.assertIn("is another store than was served from there before", changed["message"])

    def test_a_disk_that_is_gone_is_not_made_again(self):
        disk, state = self.folder / "disk", self.folder / "state"
        state.mkdir()
        program, *names = self.target_class.program
        options = [*names, self.storage[0], f"file:{disk},bs=4096,size=1MiB", "--state-dir", state,
                   "--listen", "uiwarp://127.0.0.1:0"]
        check = subprocess.run([BIN / program, *map(str, options), "--check-config"], check=True,
                               capture_output=True, text=True, timeout=PATIENCE)
        self.assertIn(f"would create {disk} with 1MiB\n", check.stdout)
        self._end(self.target(*options[len(names):-2]))
        disk.unlink()
        for more in ([], ["--check-config"]):
            said = self.refused(program, *options, *more, expect=2 if more else 1)
            self.assertIn(f"was served from there. Mount its file system, or restore it; for a new and "
                          f"empty disk: truncate -s 1M {disk}", said)
            self.assertFalse(disk.exists())
        self.file("disk", 1 << 20)
        self._end(self.target(*options[len(names):-2]))

    def test_what_a_start_refuses_is_an_entry(self):
        program, *_ = self.target_class.program
        path = self.folder / "target.json"
        kernel = self.folder / "kernel.json"
        kernel.write_text(json.dumps(self.kernels(self.file("disk", 1 << 20))))

        def only_entry(*options, status=2):
            done = subprocess.run([BIN / program, *options], capture_output=True, text=True,
                                  timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, status, done)
            return [json.loads(line) for line in done.stderr.splitlines()]

        for options in (("--log-format", "json", "--nonsense"), ("--log-format=json", "--threads=x"),
                        ("--config", path, "--log-format=json"),
                        ("--config", path, "--check-config", "--log-format=json")):
            entry, = only_entry(*options)
            self.assertEqual((entry["event"], entry["level"]), ("start_failed", "error"))
            self.assertTrue(entry["message"].startswith(f"{program}: "), entry)
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "log_format": "json",
                                    "state_dir": "/no/such/folder", **self.served_as}))
        entry, = only_entry("--config", path, "--check-config")
        self.assertIn("/no/such/folder", entry["message"])
        for action in ("--check-config", "--print-config"):
            entries = only_entry("--config", kernel, "--import-transport", "uiwarp",
                                 "--log-format", "json", action, status=0)
            self.assertTrue(entries)
            self.assertEqual({entry["event"] for entry in entries}, {"import_note"})

    def test_refused_logins_are_entries(self):
        target = self.target(*self.storage, "--log-format", "json", *self.others_only)
        self.run_host("read", target, *self.name, "--size", "4096", *self.named, expect=3)
        refused = self.expect_entry(target, event="login_refused", level="warning", host=self.host)
        self.assertIn("refused", refused["message"])

    def test_journal_lines_have_priorities(self):
        target = self.target(*self.storage, "--log-format", "journal")
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        until(lambda: "\n<5>127.0.0.1:" in target.output(), target.output)
        self.assertIn("\n<5>mrpool-", target.output())

    def test_the_level_says_how_much(self):
        quiet = self.target(*self.storage, "--log-level", "error")
        self.run_host("read", quiet, *self.name, "--size", "4096", *self.named)
        talkative = self.target(*self.storage, "--log-level", "info")
        self.run_host("read", talkative, *self.name, "--size", "4096", *self.named)
        self.expect_said(talkative, self.host)
        self._end(quiet)
        self.assertNotIn(self.host, quiet.output())

    def test_a_reload_changes_the_level(self):
        path = self.folder / "target.json"

        def configure(**keys):
            new = self.folder / "target.new"
            new.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], **keys, **self.served_as}))
            os.replace(new, path)
            return path

        target = self.target(config=configure(log_level="error"))
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        configure(log_level="notice")
        self.assertIn("reloaded", target.reload())
        self.assertNotIn(self.host, target.output())
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        self.expect_said(target, self.host)
        configure(log_format="json")
        until(lambda: "log_format cannot change" in target.reload(), target.output)

    def test_failed_and_slow_requests_are_reported(self):
        disk = self.file("disk", 8 << 20)
        target = self.target(self.storage[0], f"file:{disk},bs=4096", "--log-format", "json",
                             "--slow-command", "1ms")
        self.fail_writes_beyond(target, 4 << 20)
        self.run_host("write", target, *self.name, "--offset", "6m", *self.named,
                      data=bytes(4096), expect=1)
        self.expect_entry(target, event="store_error", level="error", store=f"file:{disk},bs=4096")

    def test_a_wrong_word_is_refused(self):
        program, *names = self.target_class.program
        said = self.refused(program, *names, *self.storage, "--listen", "uiwarp://127.0.0.1:0",
                            "--log-format", "xml")
        self.assertIn("xml", said)
        path = self.folder / "wrong.json"
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "log_level": "loud",
                                    **self.served_as}))
        said = self.refused(program, "--config", path)
        self.assertIn('"loud" is none of error, warning, notice, info, debug', said)


# Runs a program with descriptors from 3 on, as sd_listen_fds(3) wants them.
PASS = """
import os, sys
high = [os.dup2(int(fd), 100 + i) for i, fd in enumerate(sys.argv[1].split())]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """A service manager's socket, and what came there."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(0.05)
        self.messages = []

    def environment(self, **more):
        return {**os.environ, "NOTIFY_SOCKET": str(self.path), **more}

    def read(self):
        with contextlib.suppress(TimeoutError):
            while True:
                self.messages.append(self.socket.recv(4096).decode().split("\n"))
        return self.messages

    def expect(self, line, times=1):
        """Waits until it has come so often; returns the last message with it."""
        def found():
            return [message for message in self.read() if any(re.fullmatch(line, each)
                                                              for each in message)]
        until(lambda: len(found()) >= times, lambda: f"no {line}: {self.messages}")
        return found()[-1]


class Managed:
    """What the daemons tell a service manager, and take from it."""

    def setUp(self):
        super().setUp()
        self.manager = Manager(self.folder)
        self.addCleanup(self.manager.socket.close)

    def configure(self, **keys):
        path, new = self.folder / "target.json", self.folder / "target.new"
        new.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], **self.served_as, **keys}))
        new.chmod(0o644)
        os.replace(new, path)
        return path

    def launch(self, environment, *options, descriptors=()):
        """Starts the daemon as systemd does: with descriptors from 3 on, which are its own."""
        log = self.folder / f"log{time.monotonic_ns()}"
        fds = [each.fileno() for each in descriptors]
        words = [BIN / self.target_class.program[0], *options]
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", PASS, " ".join(map(str, fds)), *map(str, words)], stdout=output,
                stderr=subprocess.STDOUT, env=environment, pass_fds=fds)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.log = log
        return process

    def expect_end(self, process, status):
        self.assertEqual(process.wait(timeout=PATIENCE), status, process.log.read_text())
        return process.log.read_text()

    def test_the_states_of_a_life(self):
        path = self.configure()
        target = self.target(config=path, env=self.manager.environment())
        ready = self.manager.expect("READY=1")
        self.assertRegex("\n".join(ready), r"STATUS=0 connections, 1 stores")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        target.reload()
        reloading = self.manager.expect("RELOADING=1")
        usec = next(int(line[15:]) for line in reloading if line.startswith("MONOTONIC_USEC="))
        self.assertLessEqual(before, usec)
        self.manager.expect("READY=1", times=2)
        path.write_text("{")
        self.assertIn("refused", target.reload())
        self.manager.expect("READY=1", times=3)
        self.assertEqual(target.stop(), 0)
        stopping = self.manager.expect("STOPPING=1")
        self.assertIn("EXTEND_TIMEOUT_USEC=25000000", stopping)

    def test_the_state_names_connections(self):
        target = self.target(*self.storage, env=self.manager.environment())
        load = self.start("perf", target, *self.name, "--time_based", "--runtime", "600", "--eta",
                          "always")
        self.addCleanup(load.kill)
        load.stderr.readline()
        self.manager.expect(r"STATUS=[1-9]\d* connections, 1 stores")
        load.send_signal(signal.SIGINT)
        load.communicate(timeout=PATIENCE)

    def test_the_watchdog_is_fed_while_workers_answer(self):
        target = self.target(*self.storage, "--threads", "2",
                             env=self.manager.environment(WATCHDOG_USEC="400000"))
        self.manager.expect("WATCHDOG=1", times=3)
        # Another process's watchdog.
        other = self.target(*self.storage, env=self.manager.environment(WATCHDOG_USEC="1000",
                                                                        WATCHDOG_PID="1"))
        self.assertEqual(target.stop(), 0)
        self.manager.read()
        self.manager.messages.clear()
        self.run_host("read", other, *self.name, "--size", "4096")
        self.assertNotIn(["WATCHDOG=1"], self.manager.read())

    def test_a_wrong_environment_is_refused(self):
        for environment, said in ((self.manager.environment(WATCHDOG_USEC="soon"), "WATCHDOG_USEC=soon"),
                                  ({**os.environ, "NOTIFY_SOCKET": "nowhere"}, "NOTIFY_SOCKET=nowhere")):
            process = self.launch(environment, "--config", self.configure())
            self.assertIn(said, self.expect_end(process, 2))

    def passed(self, *sockets):
        return self.manager.environment(LISTEN_FDS=str(len(sockets)),
                                        LISTEN_FDNAMES=":".join(f"name{i}" for i in range(len(sockets))))

    def test_sockets_of_the_manager_are_used(self):
        """A peer that comes before the daemon is there waits in the socket."""
        with socket.create_server(("127.0.0.1", 0)) as one, \
                socket.create_server(("127.0.0.1", 0)) as other:
            addresses = [f"uiwarp://127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
            early = self.start("read", addresses[0], *self.name, "--size", "4096")
            self.addCleanup(early.kill)
            path = self.configure(listen=addresses)
            process = self.launch(self.passed(one, other), "--config", path, descriptors=(one, other))
            self.manager.expect("READY=1")
            early.communicate(timeout=PATIENCE)
            self.assertEqual(early.returncode, 0)
            self.run_host("read", addresses[1], *self.name, "--size", "4096")
            # A reload that wants one no more would leave its peers waiting.
            self.configure(listen=addresses[:1])
            process.send_signal(signal.SIGHUP)
            until(lambda: "reload refused" in process.log.read_text(), process.log.read_text)
            self.assertIn("(name1), which matches no address of", process.log.read_text())
            process.send_signal(signal.SIGTERM)
            self.expect_end(process, 0)

    def test_sockets_that_do_not_fit_are_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as one, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            port = one.getsockname()[1]
            for sockets, listen, said in (
                    ((one,), "uiwarp://127.0.0.1:0", f"127.0.0.1:{port} (name0), which matches no address of"),
                    ((one,), f"verbs://127.0.0.1:{port}", "an RDMA device takes none"),
                    ((datagrams,), "uiwarp://127.0.0.1:0", "is not a listening TCP socket")):
                process = self.launch(self.passed(*sockets), "--config",
                                      self.configure(listen=[listen]), descriptors=sockets)
                self.assertIn(said, self.expect_end(process, 2))

    def test_memory_with_data_stays_out_of_core_dumps(self):
        """VmFlags "dd" of the mappings that are large; AddressSanitizer has one of its own."""
        def left_out(target):
            text = pathlib.Path(f"/proc/{target.process.pid}/smaps").read_text()
            return [" dd" in flags for size, flags in re.findall(
                r"^[0-9a-f]+-[0-9a-f]+ rw-p 00000000 00:00 0 *\n(?:Size: +(\d+) kB)(?:.*\n)+?VmFlags: (.*)$",
                text, re.M) if 20480 < int(size) < 1 << 20].count(True)
        safe = self.target(*self.large_storage)
        full = self.target(*self.large_storage, "--core-dump", "full")
        self.assertGreater(left_out(safe), left_out(full))
        none = self.target(*self.storage, "--core-dump", "none")
        self.assertEqual(os.stat(f"/proc/{none.process.pid}/fd").st_uid, 0)


@unittest.skipIf(os.geteuid() != 0, "only root can become another user")
class Dropped:
    """The daemon that root starts becomes somebody else."""

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o755)
        self.nobody = pwd.getpwnam("nobody")

    def test_no_right_is_left(self):
        disk = self.file("disk", 1 << 20)
        disk.chmod(0o600)  # root's
        path = self.folder / "target.json"
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "threads": 2,
                                    **self.serve(f"file:{disk}")}))
        target = self.target("--user", "nobody", config=path)
        self.expect_said(target, "runs as nobody from now on")
        self.run_host("read", target, *self.name, "--size", "4096")
        threads = list(pathlib.Path(f"/proc/{target.process.pid}/task").iterdir())
        self.assertGreaterEqual(len(threads), 3)
        for thread in threads:
            status = (thread / "status").read_text()
            self.assertEqual(set(re.findall(r"^Cap\w+:\t([0-9a-f]+)$", status, re.M)), {"0" * 16})
            self.assertRegex(status, rf"Uid:(\t{self.nobody.pw_uid}){{4}}\n")
            self.assertRegex(status, r"NoNewPrivs:\t1\n")
        # What only root can read is refused from now on, and nothing changes.
        path.chmod(0o600)
        said = target.reload()
        self.assertIn("reload refused", said)
        self.assertIn("runs as nobody", said)
        self.run_host("read", target, *self.name, "--size", "4096")

    def test_users_that_are_none(self):
        program, *names = self.target_class.program
        for user, said in (("no-such-user", "there is no user 'no-such-user'"),
                           ("nobody:no-such-group", "there is no group 'no-such-group'"),
                           ("root", "root has all privileges")):
            self.assertIn(said, self.refused(program, *names, *self.storage, "--listen",
                                             "uiwarp://127.0.0.1:0", "--user", user))

    def test_a_state_directory_of_root_is_refused(self):
        state = self.folder / "state"
        state.mkdir(0o700)
        program, *names = self.target_class.program
        said = self.refused(program, *names, *self.storage, "--listen", "uiwarp://127.0.0.1:0",
                            "--user", "nobody", "--state-dir", state)
        self.assertIn(f"{state}: nobody cannot write there", said)
        said = self.refused(program, *names, *self.storage, "--listen", "uiwarp://127.0.0.1:0",
                            "--user", "nobody", "--state-dir", state, "--check-config")
        self.assertIn(f"{state}: nobody cannot write there", said)

    def secret_file(self, mode, uid=0, gid=0):
        path = self.folder / "secret"
        path.unlink(missing_ok=True)
        path.write_text(self.secret + "\n")
        os.chown(path, uid, gid)
        path.chmod(mode)
        return path

    def of_secret(self, path):
        file = self.folder / "secret.json"
        file.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "user": "nobody", **self.keyed(path)}))
        return file

    def test_the_user_can_read_secrets_at_the_start_and_at_a_reload(self):
        uid, gid = self.nobody.pw_uid, self.nobody.pw_gid
        for mode, owner, group in ((0o600, uid, 0), (0o640, 0, gid), (0o400, uid, gid)):
            target = self.target(config=self.of_secret(self.secret_file(mode, owner, group)))
            self.assertNotIn("refused", target.reload())
            self._end(target)

    def test_a_secret_that_the_user_cannot_read_is_refused_at_the_start(self):
        program = self.target_class.program[0]
        gid = self.nobody.pw_gid
        for mode, owner, group, why in (
                (0o600, 0, 0, "will run as nobody, which cannot read it: Permission denied; chown nobody "),
                (0o600, 1, 0, "belongs to user 1, who could change the secret; chown it to root or to nobody"),
                (0o640, 0, 1, "has mode 0640"), (0o660, 0, gid, "has mode 0660")):
            file = self.of_secret(self.secret_file(mode, owner, group))
            for check in ((), ("--check-config",)):
                self.assertIn(why, self.refused(program, "--config", file, *check))

    def test_a_token_is_read_once(self):
        for owner in (0, self.nobody.pw_uid):
            token = self.folder / "token"
            token.write_text("a-token-of-the-test\n")
            os.chown(token, owner, 0)
            token.chmod(0o600)
            target = self.target(*self.storage, "--user", "nobody", "--http", "127.0.0.1:0",
                                 "--http-token-file", token)
            self._end(target)


class Filtered:
    """The daemons under a filter of system calls."""

    def test_all_that_a_daemon_does_goes_on(self):
        disk, state = self.file("disk", 1 << 20), self.folder / "state"
        state.mkdir()
        (self.folder / "token").write_text("a-token-of-the-test\n")
        (self.folder / "token").chmod(0o600)
        path = self.folder / "target.json"

        def configure(*more):
            new = self.folder / "target.new"
            new.write_text(json.dumps({
                "listen": ["uiwarp://127.0.0.1:0", "uiwarp://localhost:0"], "threads": 2, "seccomp": "enforce",
                "state_dir": str(state), "control": str(self.folder / "control"),
                "http": "127.0.0.1:0", "http_token_file": str(self.folder / "token"),
                **({"user": "nobody"} if os.geteuid() == 0 else {}), **self.serve(f"file:{disk}", *more)}))
            new.chmod(0o644)
            os.replace(new, path)
            return path

        for each in (self.folder, disk, state):
            each.chmod(0o777)
        target = self.target(config=configure())
        threads = list(pathlib.Path(f"/proc/{target.process.pid}/task").iterdir())
        for thread in threads:
            self.assertRegex((thread / "status").read_text(), r"NoNewPrivs:\t1\nSeccomp:\t2\n")
        load = self.start("perf", target, *self.name, "--rw", "randrw", "--verify", "crc32c",
                          "--time_based", "--runtime", "600", "--eta", "always")
        self.addCleanup(load.kill)
        load.stderr.readline()
        configure(f"file:{self.folder / 'new'},size=1MiB")
        self.assertIn("reloaded: added ", target.reload())
        configure()
        self.assertIn("reloaded: removed ", target.reload())
        configure("file:/nowhere/disk")
        self.assertIn("reload refused", target.reload())
        control = Client(self.folder / "control", PATIENCE)
        self.addCleanup(control.close)
        self.change(control, disk)
        self.assertIn("mrpool_build_info", self.scrape(target))
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, (out, err))
        self.assertEqual(target.stop(), 0, target.output())

    def scrape(self, target):
        url = re.search(r"metrics and status at (\S+)", target.output()).group(1)
        request = urllib.request.Request(url + "metrics" if url.endswith("/") else url + "/metrics",
                                         headers={"Authorization": "Bearer a-token-of-the-test"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def test_the_log_refuses_nothing(self):
        target = self.target(*self.storage, "--seccomp=log", "--core-dump", "none")
        self.run_host("read", target, *self.name, "--size", "4096")

    def test_a_reload_does_not_change_it(self):
        path = self.folder / "target.json"
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], **self.served_as}))
        target = self.target(config=path)
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "seccomp": "enforce",
                                    **self.served_as}))
        self.assertIn("seccomp cannot change", target.reload())
        program, *names = self.target_class.program
        self.assertIn("strict", self.refused(program, *names, *self.storage, "--listen",
                                             "uiwarp://127.0.0.1:0", "--seccomp=strict"))


class OfNvmf:
    host = "nqn.2026-11.org.example:host"
    served = NQN
    named = ["--host-nqn", host]
    others_only = ["--host-nqn", "nqn.2026-11.org.example:other"]

    @staticmethod
    def serve(*stores):
        return {"subsystems": [{"nqn": NQN, "namespaces": [{"storage": each} for each in stores]}]}

    served_as = serve("ram:1MiB")

    secret = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:"

    def keyed(self, path):
        return {"subsystems": [{"nqn": NQN, "hosts": [{"nqn": self.host, "dhchap_key": str(path)}],
                                "namespaces": [{"storage": "ram:1MiB"}]}]}

    @staticmethod
    def kernels(disk):
        """What nvmetcli saves, with a key that nobody knows."""
        return {"hosts": [], "subsystems": [{
            "nqn": NQN, "attr": {"allow_any_host": "1"}, "strange": 1, "namespaces": [
                {"nsid": 1, "enable": 1, "buffered_io": 1, "device": {"path": str(disk)}}]}],
                "ports": [{"portid": 1, "subsystems": [NQN], "addr": {
                    "trtype": "rdma", "adrfam": "ipv4", "traddr": "127.0.0.1", "trsvcid": "0"}}]}


class OfIser:
    host = "iqn.2026-11.org.example:host"
    served = IQN
    named = ["--initiator", host]
    others_only = ["--initiator", "iqn.2026-11.org.example:other"]

    @staticmethod
    def serve(*stores):
        return {"targets": [{"name": IQN, "luns": list(stores)}]}

    served_as = serve("ram:1MiB")

    secret = "alice:alice has a secret"

    def keyed(self, path):
        return {"targets": [{"name": IQN, "luns": ["ram:1MiB"], "chap_file": str(path)}]}

    @staticmethod
    def kernels(disk):
        """What targetcli saves, with a key that nobody knows."""
        return {"fabric_modules": [], "storage_objects": [
            {"plugin": "fileio", "name": "disk", "dev": str(disk), "size": 1 << 20, "strange": 1,
             "wwn": "0a1b2c3d-1111-4222-8333-444455556666", "attributes": {"block_size": 512}}],
                "targets": [{"fabric": "iscsi", "wwn": IQN, "tpgs": [{
                    "tag": 1, "enable": True, "node_acls": [], "parameters": {}, "attributes": {
                        "authentication": 0, "generate_node_acls": 1, "demo_mode_write_protect": 0},
                    "luns": [{"index": 0, "storage_object": "/backstores/fileio/disk"}],
                    "portals": [{"ip_address": "127.0.0.1", "port": 0, "iser": True}]}]}]}


class NvmfLogs(OfNvmf, Logs, TargetTest):
    """The NVMe daemon's log."""


class IserLogs(OfIser, Logs, IserTargetTest):
    """The iSER daemon's log."""


class NvmfManaged(OfNvmf, Managed, TargetTest):
    """The NVMe daemon under a service manager."""


class NvmfDropped(OfNvmf, Dropped, TargetTest):
    """The NVMe daemon, started by root."""


class IserDropped(OfIser, Dropped, IserTargetTest):
    """The iSER daemon, started by root."""


class NvmfFiltered(OfNvmf, Filtered, TargetTest):
    """The NVMe daemon under a filter."""

    def change(self, control, disk):
        control.call("bdev_malloc_create", num_blocks=256, block_size=4096, name="new")
        control.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "new"})
        control.call("save_config", filename=str(disk.with_name("saved.json")))


class IserFiltered(OfIser, Filtered, IserTargetTest):
    """The iSER daemon under a filter."""

    def change(self, control, disk):
        control.call("iscsi_target_node_add_lun", name=IQN, bdev_name="ram:1MiB")
        control.call("mrpool_iscsi_target_node_remove_lun", name=IQN, lun_id=1)
        control.call("save_config")


class IserManaged(OfIser, Managed, IserTargetTest):
    """The iSER daemon under a service manager, which has its secrets too."""

    account = ["--chap", "alice:alice has a secret"]

    def secret(self, name, mode=0o600, text="alice:alice has a secret\n"):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def with_chap(self, place):
        return {"targets": [{"name": IQN, "luns": ["ram:1MiB"], "chap_file": str(place)}]}

    def test_secrets_from_a_file(self):
        target = self.target(config=self.configure(**self.with_chap(self.secret("chap"))))
        self.run_host("read", target, *self.name, "--size", "4096", expect=3)
        self.run_host("read", target, *self.name, *self.account, "--size", "4096")
        self.secret("chap", text="alice:another secret of her")
        self.assertIn("reloaded: changed", target.reload())
        self.run_host("read", target, *self.name, *self.account, "--size", "4096", expect=3)
        for secret in ("alice has a secret", "another secret of her"):
            self.assertNotIn(secret, target.output())

    def test_secrets_from_the_manager(self):
        folder = self.folder / "credentials"
        folder.mkdir(0o700)
        (folder / "disk").write_text("alice:alice has a secret")
        path = self.configure(**self.with_chap("credential:disk"))
        target = self.target(config=path, env={**os.environ, "CREDENTIALS_DIRECTORY": str(folder)})
        self.run_host("read", target, *self.name, *self.account, "--size", "4096")
        self.assertIn("passes no credentials", self.refused("mrpool-iser-target", "--config", path))

    def test_secrets_that_others_can_read(self):
        path = self.configure(**self.with_chap(self.secret("chap", 0o644)))
        self.assertIn("has mode 0644", self.refused("mrpool-iser-target", "--config", path))
        self.secret("chap", text="nothing")
        self.assertIn("user:secret", self.refused("mrpool-iser-target", "--config", path))
        path = self.configure(targets=[{"name": IQN, "luns": ["ram:1MiB"],
                                        "chap": "alice:alice has a secret"}])
        target = self.target(config=path)
        self.expect_said(target, "has secrets, and every user of this machine can read it")
        self.assertNotIn("alice has", target.output())


if __name__ == "__main__":
    assert BIN.exists()
    unittest.main()
