#!/usr/bin/env python3
"""mrpool-iser-target and mrpool-iser as users run them. One class a ctest (CMakeLists.txt)."""
import hashlib
import json
import os
import resource
import signal
import subprocess
import time
import unittest

from harness import BIN, IQN, PATIENCE, IserTargetTest


class Show(IserTargetTest):
    def test_ls_names_targets_and_units(self):
        target = self.target("--lun", "ram:8MiB", "--lun", "ram:1MiB")
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertIn(IQN, out.decode())
        self.assertEqual(out.decode().count("LUN"), 2, out)
        self.assertIn("LUN 0: disk, 16384 blocks of 512 bytes", out.decode())

    def test_ls_goes_on_behind_a_target_that_refuses(self):
        secret = "alice:alice has a secret"
        target = self.target("--lun", "ram:1MiB", "--chap", secret, "--target", IQN + "-open",
                             "--lun", "ram:1MiB", "--lun", "ram:1MiB")
        out, err = self.run_host("ls", target, "--show-luns", expect=3)
        self.assertEqual(out.decode().count("LUN"), 2, out)
        self.assertIn(f"{IQN}: login refused: authentication failure; --chap", err)
        # The secret is for whom it concerns: neither the portal nor the other target ask for one.
        out, _ = self.run_host("ls", target, "--show-luns", "--chap", secret)
        self.assertEqual(out.decode().count("LUN"), 3, out)

    def test_inq_says_what_the_unit_is(self):
        target = self.target("--lun", "ram:8MiB")
        out, _ = self.run_host("inq", target, *self.name)
        self.assertIn("VIRTUAL-DISK", out.decode())


class Errors(IserTargetTest):
    """Messages name what is wrong and the mend; exit statuses are what --help promises."""

    def test_the_targets_command_line(self):
        for options, named in ((["--lun", "ram:12frogs"], "12frogs"),
                               (["--lun", "ram:1MiB", "--chap", "a:short"], "12"),
                               (["--frob"], "--frob"), ([], "LUN"),
                               (["--config", self.folder], "Is a directory")):
            said = self.refused("mrpool-iser-target", "--listen", "uiwarp://127.0.0.1:0",
                                "--target", IQN, *options)
            self.assertIn(named, said)
            self.assertNotIn("a:short", said)  # secrets are not for logs
        self.assertIn("nowhere", self.refused(
            "mrpool-iser-target", "--listen", "uiwarp://127.0.0.1:0", "--target", IQN, "--lun",
            "ram:1MiB", "--state-dir", self.folder / "nowhere"))

    def test_no_descriptor_left(self):
        """At every limit the daemon starts, or says what is missing; it never aborts."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for limit in range(8, 16):
            process = subprocess.Popen(
                [BIN / "mrpool-iser-target", "--listen", "uiwarp://127.0.0.1:0", "--target", IQN,
                 "--lun", "ram:1MiB"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                # UBSan asks a pipe whether memory is there, and takes having none for a no.
                env=os.environ | {"UBSAN_OPTIONS": "halt_on_error=0"},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most)))
            said = ""
            for line in process.stdout:
                said += line.decode()
                if b"listening on" in line:
                    # LeakSanitizer needs descriptors for its report.
                    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, most))
                    process.terminate()
                    break
            said += process.communicate(timeout=PATIENCE)[0].decode()
            if process.returncode == 1:
                self.assertIn("Too many open files", said)
            else:
                self.assertIn(process.returncode, (0, -signal.SIGTERM), said)

    def test_the_initiators_command_line(self):
        target = self.target("--lun", "ram:1MiB")
        for options, word in ((["frobnicate", target.address], "frobnicate"), (["ls"], "ADDRESS"),
                              (["inq", target.address], "--target"),
                              (["read", target.address, *self.name, "--output", "/no/where"],
                               "/no/where"),
                              (["perf", target.address, *self.name, "--numjobs", "65"],
                               "--numjobs: '65'"),
                              (["perf", target.address, *self.name, "--bs", "1000"],
                               "--bs 1000"),
                              (["inq", target.address, "--target", "disk"], "--target 'disk'"),
                              (["inq", target.address, *self.name, "--initiator", "me"],
                               "--initiator 'me'"),
                              (["inq", target.address, *self.name, "--lun", "99999"],
                               "--lun: '99999'"),
                              (["inq", target.address, *self.name, "--chap", "a:short"],
                               "--chap: the CHAP secret has 5 bytes"),
                              (["read", target.address, *self.name, "--offset", "5"],
                               "--offset 5")):
            self.assertIn(word, self.refused("mrpool-iser", *options))

    def test_what_is_not_there(self):
        target = self.target("--lun", "ram:1MiB")
        for command in ("inq", "read", "perf"):
            _, err = self.run_host(command, target, *self.name, "--lun", "9", expect=3)
            self.assertIn("no LUN 9", err)
        _, err = self.run_host("inq", target, "--target", IQN + "-other", expect=3)
        self.assertIn("not found", err)
        self.assertEqual(target.stop(), 0)
        _, err = self.run_host("ls", target, expect=3)
        self.assertIn(f"cannot connect to {target.address}", err)

    def test_a_unit_that_is_write_protected(self):
        disk = self.file("disk", 1 << 20)
        target = self.target("--lun", f"file:{disk},ro")
        _, err = self.run_host("write", target, *self.name, data=bytes(4096), expect=1)
        self.assertIn("write protected (7/27/00)", err)

    def test_output_that_cannot_be_written(self):
        target = self.target("--lun", "ram:1MiB")
        self.check_full_output(("ls", target.address), ("--help",),
                               ("inq", target.address, *self.name),
                               ("perf", target.address, *self.name, "--size", "64k"))


class Copy(IserTargetTest):
    def test_what_is_written_comes_back_and_outlives_the_target(self):
        disk = self.file("disk", 8 << 20)
        content = os.urandom(8 << 20)
        target = self.target("--lun", f"file:{disk}")
        self.run_host("write", target, *self.name, data=content)
        out, _ = self.run_host("read", target, *self.name)
        self.assertEqual(hashlib.sha256(out).digest(), hashlib.sha256(content).digest())
        target.kill()
        again = self.target("--lun", f"file:{disk}")
        out, _ = self.run_host("read", again, *self.name)
        self.assertEqual(hashlib.sha256(out).digest(), hashlib.sha256(content).digest())

    def test_a_wrong_secret_is_refused(self):
        target = self.target("--lun", "ram:1MiB", "--chap", "alice:alice has a secret")
        self.run_host("inq", target, *self.name, expect=3)
        self.run_host("inq", target, *self.name, "--chap", "alice:not the secret!", expect=3)
        self.run_host("inq", target, *self.name, "--chap", "alice:alice has a secret")


class Interruptions(IserTargetTest):
    def test_a_write_that_waits_for_input(self):
        self.check_interrupted_input(signal.SIGTERM, 130)

    def test_an_interrupted_load_verifies_and_reports(self):
        target = self.target("--lun", "ram:8MiB")
        load = self.start("perf", target, *self.name, "--rw", "randrw", "--bs", "4k", "--runtime",
                          "600", "--verify", "crc32c", "--output-format", "json",
                          "--group_reporting", "--eta", "always")
        self.assertIn(b"IOPS", load.stderr.readline())  # the first line of a load that runs
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, err)
        self.assert_verified(*self.job_of(out))

    def test_a_killed_target_is_an_error_not_a_hang(self):
        target = self.target("--lun", "ram:8MiB")
        load = self.start("perf", target, *self.name, "--rw", "randread", "--runtime", "600",
                          "--eta", "always")
        self.assertIn(b"IOPS", load.stderr.readline())  # the first line of a load that runs
        target.kill()
        out, _ = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 1)
        self.assertIn("the connection was lost", out.decode())


class Reload(IserTargetTest):
    """SIGHUP: another configuration without an end of sessions."""

    def test_units_and_targets_come_and_go_under_load(self):
        path = self.folder / "config.json"

        def configure(*targets):
            path.write_text(json.dumps({"targets": [{"name": n, "luns": l} for n, l in targets]}))

        configure((IQN, ["ram:8MiB"]))
        # No --target: everything is in the file.
        target_class, self.target_class = self.target_class, type(
            "FromFile", (self.target_class,), {"program": ["mrpool-iser-target"]})
        target = self.target("--config", path)
        self.target_class = target_class

        def reload(said):
            before = target.output().count(said)
            target.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while target.output().count(said) == before:
                self.assertLess(time.monotonic(), deadline, target.output())
                time.sleep(0.02)

        load = self.start("perf", target, *self.name, "--rw", "randrw", "--bs", "4k", "--iodepth",
                          "8", "--runtime", "3", "--verify", "crc32c", "--output-format", "json",
                          "--group_reporting", "--eta", "never")
        time.sleep(0.5)
        configure((IQN, ["ram:8MiB", "ram:2MiB"]), (IQN + "-more", ["ram:1MiB"]))
        reload("reloaded")
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertEqual(out.decode().count("LUN"), 3, out)
        self.run_host("write", target, *self.name, "--lun", "1", data=os.urandom(2 << 20))
        configure((IQN, ["ram:8MiB"]))
        reload("reloaded")
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertEqual(out.decode().count("LUN"), 1, out)
        path.write_text("{")
        reload("reload refused")
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, err)
        self.assert_verified(*self.job_of(out))


class Neighbours(IserTargetTest):
    """Sessions on different threads of one target."""

    def test_two_loads_on_two_threads(self):
        target = self.target("--lun", "ram:8MiB", "--lun", "ram:8MiB", "--threads", "2",
                             "--verbose", "--stall-timeout", "5")
        loads = [self.start("perf", target, *self.name, "--lun", str(lun), "--initiator",
                            f"{IQN}-host{lun}", "--rw", "randrw", "--bs", "4k", "--iodepth", "8",
                            "--runtime", "2", "--verify", "crc32c", "--output-format", "json",
                            "--group_reporting", "--eta", "never") for lun in (0, 1)]
        for load in loads:
            out, err = load.communicate(timeout=PATIENCE)
            self.assertEqual(load.returncode, 0, err)
            self.assert_verified(*self.job_of(out))
        self.assertEqual(target.stop(), 0)
        for worker in (0, 1):
            self.assertRegex(target.output(), rf"worker/{worker}/connections_accepted [1-9]")

    def test_strict_ordering_moves_the_same_bytes(self):
        target = self.target("--lun", "ram:1MiB", "--strict-ordering", "--threads", "2")
        content = os.urandom(1 << 20)
        self.run_host("write", target, *self.name, data=content)
        out, _ = self.run_host("read", target, *self.name)
        self.assertEqual(out, content)


class Sanitizer(IserTargetTest):
    def test_verified_load_under_adversarial_placement(self):
        self.verified_under_adversarial_placement("--lun", "ram:8MiB",
                                                  loads=((8, 16), (32, 4)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
