#!/usr/bin/env python3
"""mrpool-iser-target and mrpool-iser as users run them. One class a ctest (CMakeLists.txt)."""
import hashlib
import json
import os
import re
import signal
import time
import unittest

from harness import IQN, PATIENCE, IserTargetTest, until


class Show(IserTargetTest):
    def test_ls_names_targets_and_units(self):
        target = self.target("--lun", "ram:8MiB", "--lun", "ram:1MiB")
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertIn(IQN, out.decode())
        self.assertEqual(out.decode().count("LUN"), 2, out)
        self.assertIn("LUN 0: disk, 16384 blocks of 512 bytes, optimized, port group 1", out.decode())

    def test_ls_goes_on_behind_a_target_that_refuses(self):
        secret = "alice:alice has a secret"
        target = self.target("--lun", "ram:1MiB", "--chap", secret, "--target", IQN + "-open",
                             "--lun", "ram:1MiB", "--lun", "ram:1MiB", "--open-discovery")
        out, err = self.run_host("ls", target, "--show-luns", expect=3)
        self.assertEqual(out.decode().count("LUN"), 2, out)
        self.assertIn(f"{IQN}: login refused: authentication failure; --chap", err)
        # The secret is for whom it concerns: neither the portal nor the other target ask for one.
        out, _ = self.run_host("ls", target, "--show-luns", "--chap", secret)
        self.assertEqual(out.decode().count("LUN"), 3, out)

    def test_the_account_is_in_a_file(self):
        account, mutual = self.folder / "account", self.folder / "mutual"
        account.write_text("alice:alice has a secret\n")
        mutual.write_text("target:target has a secret\n")
        for path in (account, mutual):
            path.chmod(0o600)
        target = self.target("--lun", "ram:1MiB", "--chap", "alice:alice has a secret", "--mutual-chap",
                             "target:target has a secret")
        files = ["--chap-file", account, "--mutual-chap-file", mutual]
        self.run_host("inq", target, *self.name, *files)
        name = "iqn.2026-11.org.mrpool:initiator"
        self.expect_said(target, f"{name} disconnected from {IQN} (")
        said = self.refused("mrpool-iser", "inq", target.address, *self.name, *files, "--chap",
                            "alice:alice has a secret")
        self.assertIn("--chap-file", said)
        self.assertIn("exclude each other", said)
        said = self.refused("mrpool-iser", "inq", target.address, *self.name, *files[2:])
        self.assertIn("--mutual-chap needs --chap, or --chap-file", said)
        config = self.folder / "config.json"
        config.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "targets": [
            {"name": IQN, "luns": ["ram:1MiB"], "chap_file": str(account)}]}))
        for blank in ("", "\n", "  \t\n", "alice:\n", "alice:              \n"):
            account.write_text(blank)
            for program, options in (
                    ("mrpool-iser", ["inq", target.address, *self.name, *files]),
                    ("mrpool-iser-target", ["--config", config])):
                said = self.refused(program, *options)
                self.assertIn(f"{account}", said)
                self.assertIn("blank", said)
        account.chmod(0o644)
        said = self.refused("mrpool-iser", "inq", target.address, *self.name, *files)
        self.assertIn(f"--chap-file: {account} has mode 0644", said)

    def test_discovery_asks_for_a_proof_where_a_target_does(self):
        names = {"alice": IQN + ":alice", "bob": IQN + ":bob"}
        secrets = {name: f"{name}:{name} has a secret" for name in names}
        arguments = ["--lun", "ram:1MiB"]
        for name in names:
            arguments += ["--target", f"{IQN}-{name}", "--lun", "ram:1MiB",
                          "--initiator", names[name], "--initiator-chap", secrets[name]]
        target = self.target(*arguments)
        # A stranger sees what is everybody's; who claims a listed name has to prove it.
        out, _ = self.run_host("ls", target)
        self.assertNotIn(f"{IQN}-", out.decode())
        self.assertIn(IQN, out.decode())
        for proof in ([], ["--chap", secrets["bob"]]):
            _, err = self.run_host("ls", target, "--initiator", names["alice"], *proof, expect=3)
            self.assertIn("authentication failure", err)
        out, _ = self.run_host("ls", target, "--initiator", names["alice"],
                               "--chap", secrets["alice"])
        self.assertIn(f"{IQN}-alice", out.decode())
        self.assertNotIn(f"{IQN}-bob", out.decode())
        # One listed initiator cannot be the other.
        self.run_host("inq", target, "--target", f"{IQN}-alice", "--initiator", names["alice"],
                      "--chap", secrets["bob"], expect=3)

    def test_guesses_run_out(self):
        target = self.target("--lun", "ram:1MiB", "--chap", "alice:alice has a secret")
        for attempt in range(100):  # a slow machine gets more guesses while it goes on
            _, err = self.run_host("inq", target, *self.name,
                                   "--chap", f"alice:guess number {attempt}", expect=3)
            if "authentication failure" not in err:
                return
        self.fail("a stranger may guess for ever")

    def test_discovery_tells_numbers_that_can_be_used(self):
        target = self.target(*self.storage, "--listen", "uiwarp://[::]:0",
                             "--listen", "uiwarp://localhost:0")
        dual = re.search(r"uiwarp://\[::\]:(\d+)", target.output()).group(1)
        out, _ = self.run_host("ls", f"uiwarp://127.0.0.1:{dual}")
        lines = out.decode().splitlines()
        self.assertIn(f"{IQN} 127.0.0.1:{dual},1", lines)
        self.assertEqual(len(lines), len(set(lines)))
        for line in lines:
            self.assertRegex(line, r" (127\.0\.0\.1|\[::1\]):\d+,1$")

    def test_port_0_is_another_port_each_time(self):
        target = self.target(*self.storage, "--listen", "uiwarp://127.0.0.1:0")
        until(lambda: "serving" in target.output(), target.output)
        ports = re.findall(r"^listening on uiwarp://127.0.0.1:(\d+)$", target.output(), re.M)
        self.assertEqual(len(set(ports)), 2, target.output())

    def test_listening_is_retried(self):
        target, address = self.check_listening_is_retried()
        out, _ = self.run_host("ls", target)
        self.assertIn(address.removeprefix("uiwarp://"), out.decode())

    def test_inq_says_what_the_unit_is(self):
        target = self.target("--lun", "ram:8MiB")
        out, _ = self.run_host("inq", target, *self.name)
        self.assertIn("VIRTUAL-DISK", out.decode())
        self.assertRegex(out.decode(), r"access: +optimized, port group 1\n")


class Errors(IserTargetTest):
    """Messages name what is wrong and the mend; exit statuses are what --help promises."""

    def test_the_targets_command_line(self):
        for options, named in ((["--lun", "ram:12frogs"], "12frogs"),
                               (["--lun", "ram:1MiB", "--chap", "a:short"], "12"),
                               (["--frob"], "--frob"), ([], "LUN")):
            said = self.refused("mrpool-iser-target", "--listen", "uiwarp://127.0.0.1:0",
                                "--target", IQN, *options)
            self.assertIn(named, said)
            self.assertNotIn("a:short", said)  # secrets are not for logs
        self.assertIn("Is a directory", self.refused("mrpool-iser-target", "--config", self.folder))
        self.assertIn("nowhere", self.refused(
            "mrpool-iser-target", "--listen", "uiwarp://127.0.0.1:0", "--target", IQN, "--lun",
            "ram:1MiB", "--state-dir", self.folder / "nowhere"))

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
                               ("perf", target.address, *self.name, "--size", "64k"),
                               ("read", target.address, *self.name))


class Copy(IserTargetTest):
    def test_marked_blocks(self):
        self.check_marked_blocks("3/11/00")

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

    def test_nothing_is_destroyed_before_the_target_has_answered(self):
        kept = self.folder / "kept"
        kept.write_bytes(b"do not lose this")
        target = self.target("--lun", "ram:1MiB")
        self.run_host("read", target, "--target", self.name[1] + "-other", "--output", kept, expect=3)
        self.run_host("read", target, *self.name, "--lun", "7", "--output", kept, expect=3)
        self.run_host("read", target, *self.name, "--size", "2MiB", "--output", kept, expect=2)
        self.assertEqual(kept.read_bytes(), b"do not lose this")
        self.run_host("read", target, *self.name, "--size", "4k", "--output", kept)
        self.assertEqual(kept.read_bytes(), bytes(4096))
        pattern = self.folder / "pattern"
        pattern.write_bytes(b"x" * (1 << 21))
        _, err = self.run_host("write", target, *self.name, "--input", pattern, expect=2)
        self.assertIn("does not fit: there is room for", err)
        out, _ = self.run_host("read", target, *self.name)
        self.assertEqual(out, bytes(1 << 20))

    def test_equal_mistakes_have_equal_statuses(self):
        self.check_equal_mistakes()

    def test_copies_keep_several_commands_under_way(self):
        self.check_equal_copies()

    def test_a_wrong_secret_is_refused(self):
        target = self.target("--lun", "ram:1MiB", "--chap", "alice:alice has a secret")
        self.run_host("inq", target, *self.name, expect=3)
        self.run_host("inq", target, *self.name, "--chap", "alice:not the secret!", expect=3)
        self.run_host("inq", target, *self.name, "--chap", "alice:alice has a secret")


class Interruptions(IserTargetTest):
    def test_an_interrupted_load_verifies_and_reports(self):
        target = self.target("--lun", "ram:8MiB")
        load = self.start("perf", target, *self.name, "--rw", "randrw", "--bs", "4k", "--time_based", "--runtime",
                          "600", "--verify", "crc32c", "--output-format", "json",
                          "--group_reporting", "--eta", "always")
        self.assertIn(b"IOPS", load.stderr.readline())  # the first line of a load that runs
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, err)
        self.assert_verified(*self.job_of(out))

    def test_a_silent_target_is_named(self):
        self.check_silent_target_is_named()

    def test_a_target_that_is_killed_while_it_is_written(self):
        self.check_target_killed_while_it_is_written()

    def test_a_target_that_is_killed_while_it_is_read(self):
        self.check_target_killed_while_it_is_read()

    def test_a_killed_target_is_an_error_not_a_hang(self):
        target = self.target("--lun", "ram:8MiB")
        load = self.start("perf", target, *self.name, "--rw", "randread", "--time_based", "--runtime", "600",
                          "--eta", "always")
        self.assertIn(b"IOPS", load.stderr.readline())  # the first line of a load that runs
        target.kill()
        out, _ = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 3)
        self.assertIn(target.address, out.decode())  # with what ended the connection


class Load(IserTargetTest):
    def test_the_depth_shown_is_the_depth_granted(self):
        """The window of this target is 128 commands."""
        target = self.target("--lun", "ram:8MiB")
        options = (*self.name, "--rw", "randread", "--size", "1MiB", "--eta", "never")
        out, err = self.run_host("perf", target, *options, "--iodepth", "1000")
        self.assertIn("--iodepth 1000: the target takes 128 commands of a session at once", err)
        self.assertIn(", depth 128\n", out.decode())
        out, err = self.run_host("perf", target, *options, "--iodepth", "128")
        self.assertIn(", depth 128\n", out.decode())
        self.assertNotIn("--iodepth", err)


class Reload(IserTargetTest):
    """SIGHUP: another configuration without an end of sessions."""

    def test_units_and_targets_come_and_go_under_load(self):
        path = self.folder / "config.json"

        def configure(*targets):
            path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "targets": [
                {"name": n, "luns": l} for n, l in targets]}))

        configure((IQN, ["ram:8MiB"]))
        target = self.target(config=path)

        def reload(said):
            before = target.output().count(said)
            target.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while target.output().count(said) == before:
                self.assertLess(time.monotonic(), deadline, target.output())
                time.sleep(0.02)

        load = self.start("perf", target, *self.name, "--rw", "randrw", "--bs", "4k", "--iodepth",
                          "8", "--time_based", "--runtime", "600", "--verify", "crc32c",
                          "--output-format", "json", "--group_reporting", "--eta", "always")
        self.addCleanup(load.kill)
        load.stderr.readline()  # the first line of a load that runs
        configure((IQN, ["ram:8MiB", "ram:2MiB"]), (IQN + "-more", ["ram:1MiB"]))
        reload("reloaded")
        self.assertIn(f"\nreloaded: added initiators of {IQN}-more, {IQN} LUN 1, {IQN}-more LUN 0\n",
                      target.output())
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertEqual(out.decode().count("LUN"), 3, out)
        self.run_host("write", target, *self.name, "--lun", "1", data=os.urandom(2 << 20))
        configure((IQN, ["ram:8MiB"]))
        reload("reloaded")
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertEqual(out.decode().count("LUN"), 1, out)
        path.write_text("{")
        reload("reload refused")
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, err)
        self.assert_verified(*self.job_of(out))


class Identity(IserTargetTest):
    """A unit is its store: what names it and what is in it, wherever it stands."""

    def configure(self, *luns, **more):
        path = self.folder / "config.json"
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], **more,
                                    "targets": [{"name": IQN, "luns": luns}]}))
        return path

    def serial(self, target, lun):
        out, _ = self.run_host("inq", target, *self.name, "--lun", str(lun))
        return re.search(r"serial: +(\S+)", out.decode()).group(1)

    def test_a_unit_keeps_its_names_and_data_when_others_go(self):
        disk = f"file:{self.file('disk', 1 << 20)}"
        target = self.target(config=self.configure("ram:1MiB", "ram:2MiB", disk))
        second, third = self.serial(target, 1), self.serial(target, 2)
        data = os.urandom(4096)
        self.run_host("write", target, *self.name, "--lun", "1", data=data)
        self.configure("ram:2MiB", {"storage": disk, "lun": 9})
        self.assertIn("reloaded", target.reload())
        self.assertEqual([self.serial(target, 0), self.serial(target, 9)], [second, third])
        out, _ = self.run_host("read", target, *self.name, "--lun", "0")
        self.assertEqual(out[:4096], data)
        self.configure(f"{disk},ro,bs=4096,lun=3")
        self.assertIn("reloaded", target.reload())
        self.assertEqual(self.serial(target, 3), third)
        # After a restart too; a name that is given goes before it.
        target.stop()
        target = self.target(config=self.configure(disk, "ram:1MiB,serial=mine"))
        self.assertEqual([self.serial(target, 0), self.serial(target, 1)], [third, "mine"])

    def test_another_store_in_the_place_of_the_one_in_use_is_the_cause(self):
        self.check_replaced_while_it_is_used(
            lambda file: self.configure({"storage": f"file:{file}", "lun": 0}),
            "the unit was replaced")

    def test_a_state_directory_has_one_owner(self):
        state = self.folder / "state"
        state.mkdir()
        target = self.target("--lun", "ram:1MiB", "--state-dir", state)
        said = self.refused("mrpool-iser-target", "--listen", "uiwarp://127.0.0.1:0", "--target",
                            IQN, "--lun", "ram:1MiB", "--state-dir", state, expect=1)
        self.assertIn(f"{state} is in use by process {target.process.pid}", said)

    def test_a_state_directory_keeps_what_names_a_unit(self):
        self.check_state_directory_keeps_uuids(
            "LUN 0", lambda target: self.serial(target, 0).replace("-", ""))

    def test_what_a_reload_cannot_change_is_named(self):
        target = self.target(config=self.configure("ram:1MiB"))
        self.configure("ram:1MiB", "ram:2MiB", immediate_data=False, threads=2)
        self.assertIn("threads, immediate_data cannot change", target.reload())
        self.run_host("inq", target, *self.name, "--lun", "1", expect=3)

    def test_a_file_that_grows_or_is_replaced_is_noticed(self):
        disk = self.file("disk", 1 << 20)
        target = self.target("--lun", f"file:{disk}")
        os.truncate(disk, 2 << 20)
        until(lambda: "grew from 1048576 to 2097152" in target.output(), target.output)
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertIn("LUN 0: disk, 4096 blocks of 512 bytes", out.decode())
        os.replace(self.file("other", 1 << 20), disk)
        until(lambda: "was replaced" in target.output(), target.output)


class Neighbours(IserTargetTest):
    """Sessions on different threads of one target."""

    def test_two_loads_on_two_threads(self):
        target = self.target("--lun", "ram:8MiB", "--lun", "ram:8MiB", "--threads", "2",
                             "--verbose", "--stall-timeout", "60")
        loads = [self.start("perf", target, *self.name, "--lun", str(lun), "--initiator",
                            f"{IQN}-host{lun}", "--rw", "randrw", "--bs", "4k", "--iodepth", "8",
                            "--time_based", "--runtime", "2", "--verify", "crc32c", "--output-format", "json",
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
