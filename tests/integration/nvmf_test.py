#!/usr/bin/env python3
"""mrpool-nvmf against mrpool-nvmf-target over uiwarp, as processes.

    MRPOOL_BIN=build/dev/bin tests/integration/nvmf_test.py [Class[.test]]...
"""
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

from harness import BIN, NQN, PATIENCE, TargetTest, until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "attack"))
from iwarp import Wire, cm_request  # pylint: disable=wrong-import-position

MIB = 1 << 20


class Show(TargetTest):
    def test_discover_lists_the_subsystem_at_the_address_asked(self):
        target = self.target("--namespace", "ram:1MiB")
        out, _ = self.run_host("discover", target, "--output-format", "json")
        records = json.loads(out)["records"]
        mine = [r for r in records if r["subnqn"] == NQN]
        self.assertEqual(len(mine), 1, records)
        self.assertEqual(mine[0]["trtype"], "rdma")
        self.assertEqual(mine[0]["subtype"], "nvme")
        self.assertEqual(mine[0]["trsvcid"], str(target.port))
        out, _ = self.run_host("discover", target)
        self.assertIn(NQN, out.decode())

    def test_discovery_tells_numbers_that_can_be_used(self):
        target = self.target(*self.storage, "--listen", "uiwarp://[::]:0",
                             "--listen", "uiwarp://localhost:0", "--listen", "uiwarp://[::1]:0")
        dual = re.search(r"uiwarp://\[::\]:(\d+)", target.output()).group(1)
        out, _ = self.run_host("discover", f"uiwarp://127.0.0.1:{dual}", "--output-format", "json")
        records = json.loads(out)["records"]
        self.assertEqual({record["adrfam"]: record["traddr"] for record in records},
                         {"ipv4": "127.0.0.1", "ipv6": "::1"})
        ports = [record["trsvcid"] for record in records if record["adrfam"] == "ipv4"]
        self.assertIn(dual, ports)
        self.assertEqual(len(records), len({(r["traddr"], r["trsvcid"]) for r in records}))

    def test_port_0_is_another_port_each_time(self):
        target = self.target(*self.storage, "--listen", "uiwarp://127.0.0.1:0")
        until(lambda: "serving" in target.output(), target.output)
        ports = re.findall(r"^listening on uiwarp://127.0.0.1:(\d+)$", target.output(), re.M)
        self.assertEqual(len(set(ports)), 2, target.output())

    def test_listening_is_retried(self):
        target, address = self.check_listening_is_retried()
        out, _ = self.run_host("discover", target, "--output-format", "json")
        self.assertIn(address.rsplit(":", 1)[1],
                      [record["trsvcid"] for record in json.loads(out)["records"]])

    def test_identify_shows_the_namespaces(self):
        target = self.target("--namespace", "ram:1MiB", "--namespace", "null:1GiB")
        out, _ = self.run_host("identify", target, "--subnqn", NQN, "--output-format", "json")
        shown = json.loads(out)
        self.assertEqual(shown["controller"]["subnqn"], NQN)
        sizes = [n["nsze"] * n["block_size"] for n in shown["namespaces"]]
        self.assertEqual(sizes, [MIB, 1 << 30])
        self.assertRegex(shown["controller"]["ver"], r"^[12]\.\d\.\d$")
        for each in shown["namespaces"]:
            self.assertEqual(each["uuid"].replace("-", ""), each["nguid"])
            self.assertIn(each["uuid"], target.output())
        out, _ = self.run_host("identify", target, "--subnqn", NQN)
        self.assertIn("namespace, 1GiB", out.decode())

    def test_a_state_directory_keeps_what_names_a_namespace(self):
        def nguid(target):
            out, _ = self.run_host("identify", target, "--subnqn", NQN, "--output-format", "json")
            return json.loads(out)["namespaces"][0]["nguid"]

        self.check_state_directory_keeps_uuids("namespace 1", nguid)


class Verify(TargetTest):
    """Zero verification errors, whatever the namespace, block size and number of jobs."""

    def check(self, *options, namespace=None):
        target = self.target("--namespace", namespace or "ram:32MiB")
        job, own = self.perf(target, "--verify", "crc32c", *options)
        self.assert_verified(job, own)
        # Each key was asked to be ended by the target, and was.
        self.assertEqual(own["remote_invalidations"], own["keys"], own)
        self.assertEqual(own["local_invalidations"], 0)
        return job, own

    def file_namespace(self):
        return f"file:{self.file('disk', 32 * MIB)}"

    def test_ram_one_job(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--time_based", "--runtime", "1")

    def test_ram_four_jobs(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--time_based", "--runtime", "1",
                   "--numjobs", "4")

    def test_file_one_job(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--time_based", "--runtime", "1",
                   namespace=self.file_namespace())

    def test_file_four_jobs(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--time_based", "--runtime", "1",
                   "--numjobs", "4", namespace=self.file_namespace())

    def test_smallest_blocks(self):
        self.check("--rw", "randwrite", "--bs", "512", "--iodepth", "64", "--size", "4m",
                   namespace="ram:4MiB,bs=512")

    def test_large_sequential_writes_and_a_later_run_that_reads(self):
        target = self.target("--namespace", "ram:32MiB")
        for rw in ("write", "read"):
            job, _ = self.perf(target, "--verify", "crc32c", "--rw", rw, "--bs", "1m",
                               "--iodepth", "4")
            self.assertEqual(job["verify_errors"], 0)
            self.assertEqual(job["verified"], 32)

    def test_depth_beyond_the_regions_blocks(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "64", "--size", "64k",
                   "--time_based", "--runtime", "0.3")

    def test_damage_is_found(self):
        path = self.file("disk", 4 * MIB)
        target = self.target("--namespace", f"file:{path}")
        self.perf(target, "--rw", "write", "--bs", "4k", "--iodepth", "8", "--verify", "crc32c")
        with open(path, "r+b") as disk:
            disk.seek(1 * MIB + 77)
            disk.write(b"\xff\x00\xff")
        job, _ = self.perf(target, "--rw", "read", "--bs", "4k", "--iodepth", "8", "--verify",
                           "crc32c", expect=1)
        self.assertEqual(job["verify_errors"], 1)
        self.assertIn(f"at {MIB} is damaged", job["first_error"])


class Neighbours(TargetTest):
    def test_killing_other_clients_harms_nobody(self):
        target = self.target("--namespace", "ram:32MiB", "--namespace", "ram:32MiB")
        mine = self.start("perf", target, "--subnqn", NQN, "--rw", "randrw", "--bs", "4k",
                          "--iodepth", "32", "--time_based", "--runtime", "3", "--verify", "crc32c",
                          "--output-format", "json", "--group_reporting")
        self.addCleanup(mine.kill)
        killed = 0
        dice = random.Random(5)
        while mine.poll() is None and killed < 12:
            other = self.start("perf", target, "--subnqn", NQN, "--nsid", "2", "--rw", "randrw",
                               "--bs", "128k", "--iodepth", "16", "--time_based", "--runtime", "60")
            time.sleep(dice.uniform(0.02, 0.3))
            other.kill()
            other.communicate()
            killed += 1
        out, err = mine.communicate(timeout=PATIENCE)
        self.assertEqual(mine.returncode, 0, err.decode())
        self.assertGreater(killed, 0)
        self.assert_verified(*self.job_of(out))


class Copy(TargetTest):
    def round_trip(self, namespace):
        target = self.target("--namespace", namespace)
        image = random.Random(1).randbytes(9 * MIB + 12345)
        path = self.folder / "image"
        path.write_bytes(image)
        self.run_host("write", target, "--subnqn", NQN, "--input", path, "--offset", "1m")
        back = self.folder / "back"
        self.run_host("read", target, "--subnqn", NQN, "--offset", "1m", "--size", len(image),
                      "--output", back)
        self.assertEqual(hashlib.sha256(back.read_bytes()).hexdigest(),
                         hashlib.sha256(image).hexdigest())
        return target

    def test_marked_blocks(self):
        self.check_marked_blocks("unrecovered_read_error")

    def test_ram_round_trip(self):
        self.round_trip("ram:16MiB")

    def test_file_round_trip(self):
        path = self.file("disk", 16 * MIB)
        target = self.round_trip(f"file:{path}")
        self.assertEqual(target.stop(), 0)
        image = (self.folder / "image").read_bytes()
        self.assertEqual(path.read_bytes()[MIB:MIB + len(image)], image)

    def test_pipes_and_ends_inside_a_block(self):
        target = self.target("--namespace", "ram:1MiB,bs=512")
        whole = random.Random(2).randbytes(MIB)
        self.run_host("write", target, "--subnqn", NQN, data=whole)
        patch = b"seven hundred bytes" * 37
        self.run_host("write", target, "--subnqn", NQN, "--offset", "4096", data=patch)
        expected = whole[:4096] + patch + whole[4096 + len(patch):]
        out, _ = self.run_host("read", target, "--subnqn", NQN)
        self.assertEqual(hashlib.sha256(out).hexdigest(), hashlib.sha256(expected).hexdigest())
        out, _ = self.run_host("read", target, "--subnqn", NQN, "--offset", "512", "--size", "700")
        self.assertEqual(out, expected[512:1212])

    def test_messages_stay_out_of_the_file_when_stderr_is_closed(self):
        target = self.target("--namespace", "ram:1MiB")
        back = self.folder / "back"
        subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", BIN / "mrpool-nvmf", "read",
                        target.address, *self.name, "--output", back], check=True,
                       timeout=PATIENCE)
        self.assertEqual(back.read_bytes(), bytes(MIB))

    def test_nothing_is_destroyed_before_the_target_has_answered(self):
        kept = self.folder / "kept"
        kept.write_bytes(b"do not lose this")
        target = self.target("--namespace", "ram:1MiB")
        self.run_host("read", target, "--subnqn", NQN + "-other", "--output", kept, expect=3)
        self.run_host("read", target, "--subnqn", NQN, "--nsid", "7", "--output", kept, expect=3)
        self.run_host("read", target, "--subnqn", NQN, "--size", "2MiB", "--output", kept, expect=2)
        self.assertEqual(kept.read_bytes(), b"do not lose this")
        self.run_host("read", target, "--subnqn", NQN, "--size", "4k", "--output", kept)
        self.assertEqual(kept.read_bytes(), bytes(4096))
        # What does not fit is not begun.
        large = self.folder / "large"
        large.write_bytes(b"x" * (2 * MIB))
        _, err = self.run_host("write", target, "--subnqn", NQN, "--input", large, expect=2)
        self.assertIn("does not fit", err)
        out, _ = self.run_host("read", target, "--subnqn", NQN)
        self.assertEqual(out, bytes(MIB))

    def test_input_that_does_not_fit(self):
        target = self.target("--namespace", "ram:1MiB")
        _, err = self.run_host("write", target, "--subnqn", NQN, "--offset", "512k",
                               data=bytes(600 << 10), expect=2)
        self.assertIn("does not fit", err)

    def test_equal_mistakes_have_equal_statuses(self):
        self.check_equal_mistakes()

    def test_copies_keep_several_commands_under_way(self):
        self.check_equal_copies()


class Errors(TargetTest):
    """Messages name what is wrong and the mend; exit statuses are what --help promises."""

    def test_wrong_subsystem(self):
        target = self.target("--namespace", "ram:1MiB")
        _, err = self.run_host("identify", target, "--subnqn", "nqn.2026-11.org.mrpool:other",
                               expect=3)
        self.assertIn("nqn.2026-11.org.mrpool:other", err)
        self.assertIn("discover", err)

    def test_unreachable(self):
        target = self.target("--namespace", "ram:1MiB")
        self.assertEqual(target.stop(), 0)
        _, err = self.run_host("discover", target.address, expect=3)
        self.assertIn(target.address, err)
        self.assertIn("refused", err)

    def test_refused_host(self):
        friend = "nqn.2026-11.org.mrpool:friend"
        target = self.target("--namespace", "ram:1MiB", "--host-nqn", friend)
        _, err = self.run_host("identify", target, "--subnqn", NQN, "--host-nqn",
                               "nqn.2026-11.org.mrpool:stranger", expect=3)
        self.assertIn("nqn.2026-11.org.mrpool:stranger", err)
        self.run_host("identify", target, "--subnqn", NQN, "--host-nqn", friend)

    def test_the_target_reports_whom_it_refuses(self):
        friend = "nqn.2026-11.org.mrpool:friend"
        target = self.target("--namespace", "ram:1MiB", "--host-nqn", friend)
        stranger = "nqn.2026-11.org.mrpool:stranger"
        self.run_host("identify", target, "--subnqn", NQN, "--host-nqn", stranger, expect=3)
        self.expect_said(target, f"Connect of {stranger} to {NQN} refused: the host is not in the list")
        self.run_host("identify", target, "--subnqn", NQN + "-other", "--host-nqn", friend, expect=3)
        self.expect_said(target, f"to {NQN}-other refused: there is no such subsystem")

    def test_wrong_namespace(self):
        target = self.target("--namespace", "ram:1MiB")
        _, err = self.run_host("read", target, "--subnqn", NQN, "--nsid", "9", expect=3)
        self.assertIn("no namespace 9", err)

    def test_a_time_out_of_nothing_is_refused(self):
        said = self.refused("mrpool-nvmf", "perf", "uiwarp://127.0.0.1:1", "--subnqn", NQN,
                            "--timeout", "0")
        self.assertIn("--timeout", said)
        said = self.refused("mrpool-iser", "perf", "uiwarp://127.0.0.1:1", "--target", "iqn.x:y",
                            "--timeout", "0")
        self.assertIn("--timeout", said)

    def test_usage(self):
        target = self.target("--namespace", "ram:1MiB")
        for options, word in ((["--bs", "1000"], "--bs 1000"), (["--size", "2m"], "--size"),
                              (["--rw", "sideways"], "sideways"), (["--iodepth", "0"], "--iodepth"),
                              (["--nonsense"], "--nonsense")):
            _, err = self.run_host("perf", target, "--subnqn", NQN, *options, expect=2)
            self.assertIn(word, err)
        _, err = self.run_host("perf", target, expect=2)
        self.assertIn("--subnqn", err)


    def test_the_targets_command_line(self):
        served = ["--listen", "uiwarp://127.0.0.1:0", "--subnqn", NQN]
        for options, word in (([*served], "--namespace"), ([*served, "--frob"], "--frob"),
                              ([*served, "--namespace", "ram:12frogs"], "12frogs"),
                              (["--config", self.folder], "Is a directory"),
                              ([*served, "--namespace", "file:/dev/null"], "/dev/null"),
                              (["--subnqn", NQN, "--namespace", "ram:1MiB"], "listen")):
            self.assertIn(word, self.refused("mrpool-nvmf-target", *options))
        taken = self.target("--namespace", "ram:1MiB").address
        self.assertIn(taken, self.refused("mrpool-nvmf-target", "--listen", taken, "--subnqn", NQN,
                                          "--namespace", "ram:1MiB", expect=1))

    def test_output_that_cannot_be_written(self):
        target = self.target("--namespace", "ram:1MiB")
        self.check_full_output(("discover", target.address), ("--help",),
                               ("identify", target.address, *self.name),
                               ("perf", target.address, *self.name, "--size", "64k"),
                               ("read", target.address, *self.name))


class Limits(TargetTest):
    """Strangers and the process's limits lock nobody out."""

    def test_few_descriptors(self):
        target = self.target(*self.storage, descriptors_limit=400)
        said = target.output()
        self.assertRegex(said, r"only \d+ of 2048 connections are possible: .* the limit is 400")
        self.assertLess(said.index("are possible"), said.index("serving"))
        most = int(re.search(r"only (\d+) of", said).group(1))
        strangers = [Wire(target.port, cm_request()) for _ in range(2 * most)]
        job, own = self.perf(target, "--rw", "randrw", "--bs", "4k", "--size", "1m", "--verify",
                             "crc32c")
        self.assert_verified(job, own)
        for wire in strangers:
            wire.socket.close()

    def test_a_configuration_that_is_a_fifo(self):
        path = self.folder / "config.json"
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "subsystems": [
            {"nqn": NQN, "namespaces": [{"storage": "ram:1MiB"}]}]}))
        target = self.target(config=path)
        path.unlink()
        os.mkfifo(path)
        self.assertIn("is not a regular file", target.reload())
        self.assert_verified(*self.perf(target, "--rw", "randrw", "--size", "1m", "--verify",
                                        "crc32c"))


class StorageErrors(TargetTest):
    """What the kernel says of a file reaches the host as a status; the daemon serves on."""

    def test_no_space_left(self):
        target = self.target("--namespace", f"file:{self.file('disk', 16 * MIB)}")
        # As without space or quota.
        self.fail_writes_beyond(target, 4 * MIB)
        data = random.Random(3).randbytes(MIB)
        _, err = self.run_host("write", target, "--subnqn", NQN, "--offset", "8m", data=data,
                               expect=1)
        self.assertIn("capacity_exceeded", err)
        self.run_host("write", target, "--subnqn", NQN, "--offset", "1m", data=data)
        out, _ = self.run_host("read", target, "--subnqn", NQN, "--offset", "1m", "--size", "1m")
        self.assertEqual(out, data)

    def test_a_file_cut_short(self):
        disk = self.file("disk", 16 * MIB)
        target = self.target("--namespace", f"file:{disk}")
        data = random.Random(4).randbytes(MIB)
        self.run_host("write", target, "--subnqn", NQN, data=data)
        with open(disk, "r+b") as file:
            file.truncate(MIB)
        _, err = self.run_host("read", target, "--subnqn", NQN, "--offset", "4m", "--size", "1m",
                               expect=1)
        # The answer, or the size that the host is told of beside it, whichever it sees first.
        self.assertRegex(err, "lba_out_of_range|it is 256 blocks of 4096 bytes, it was 4096")
        out, _ = self.run_host("read", target, "--subnqn", NQN, "--size", "1m")
        self.assertEqual(out, data)


class Interruptions(TargetTest):
    def test_sigint_ends_a_load_with_its_verification(self):
        target = self.target("--namespace", "ram:4MiB")
        process = self.start("perf", target, "--subnqn", NQN, "--rw", "randrw", "--time_based", "--runtime", "600",
                             "--iodepth", "8", "--verify", "crc32c", "--output-format", "json",
                             "--group_reporting", "--eta", "always")
        process.stderr.readline()  # the first line of a load that runs
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, err.decode())
        self.assert_verified(*self.job_of(out))

    def test_a_silent_target_is_named(self):
        self.check_silent_target_is_named()

    def test_a_target_that_is_killed_while_it_is_written(self):
        self.check_target_killed_while_it_is_written()

    def kill_under_load(self, disk, *options):
        """Returns the load, which had begun, and the killed target."""
        # Of an address of its own: another program could be given the port before it is back.
        target = self.target("--namespace", disk, host=f"127.{random.randrange(1, 255)}.7.7")
        process = self.start("perf", target, "--subnqn", NQN, "--rw", "randrw", "--bs", "4k",
                             "--iodepth", "32", "--numjobs", "2", "--time_based", "--runtime", "600", "--verify",
                             "crc32c", "--output-format", "json", "--group_reporting", "--eta",
                             "always", *options)
        self.addCleanup(process.kill)
        process.stderr.readline()
        target.kill()
        return process, target

    def test_reconnect_repeats_what_was_under_way(self):
        disk = f"file:{self.file('disk', 16 * MIB)}"
        process, killed = self.kill_under_load(disk, "--reconnect", "--reconnect-delay", "100ms")
        self.target("--namespace", disk, host=killed.host, port=killed.port)
        # Its connections are there before it counts as back.
        while b"connected again" not in (line := process.stderr.readline()):
            self.assertTrue(line, "the host does not come back")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, err.decode())
        job, own = self.job_of(out)
        self.assert_verified(job, own)
        self.assertGreaterEqual(own["reconnects"], 1)
        self.assertGreater(own["resubmitted"], 0)

    def test_another_namespace_in_the_place_of_the_old_one_ends_the_run(self):
        disk = self.file("disk", 16 * MIB)
        process, killed = self.kill_under_load(f"file:{disk}", "--reconnect", "--reconnect-delay",
                                               "100ms")
        other = self.file("other", 16 * MIB)
        self.target("--namespace", f"file:{other}", host=killed.host, port=killed.port)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, err.decode())
        self.assertIn("namespace 1 was replaced", err.decode())
        self.assertEqual(other.read_bytes(), bytes(16 * MIB), "not a byte goes to the other one")

    def test_a_namespace_that_has_another_size_ends_the_run(self):
        disk = self.file("disk", 16 * MIB)
        process, killed = self.kill_under_load(f"file:{disk}", "--reconnect", "--reconnect-delay",
                                               "100ms")
        with open(disk, "r+b") as file:
            file.truncate(8 * MIB)
        self.target("--namespace", f"file:{disk}", host=killed.host, port=killed.port)
        _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, err.decode())
        self.assertIn("namespace 1 was replaced", err.decode())

    def test_without_reconnect_the_loss_is_an_error(self):
        process, _ = self.kill_under_load(f"file:{self.file('disk', 16 * MIB)}")
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 3, err.decode())
        job, _ = self.job_of(out)
        self.assertGreater(job["io_errors"], 0)
        self.assertEqual(err.decode().count("connection lost"), 1)

    def test_a_target_that_is_killed_while_it_is_read(self):
        self.check_target_killed_while_it_is_read()


class Reload(TargetTest):
    """SIGHUP: what appeared or vanished changes live, a broken file is refused whole."""

    def write(self, *namespaces, text=None):
        path = self.folder / "target.json"
        path.write_text(text if text is not None else json.dumps({
            "listen": ["uiwarp://127.0.0.1:0"],
            "subsystems": [{"nqn": NQN, "namespaces": [
                {"nsid": nsid, "storage": storage} for nsid, storage in namespaces]}]}))
        return path

    def shown(self, target):
        out, _ = self.run_host("identify", target, "--subnqn", NQN, "--output-format", "json")
        return [n["nsid"] for n in json.loads(out)["namespaces"]]

    def test_live_changes_beside_a_verified_load(self):
        first = (1, "ram:8MiB,bs=512")  # a block size of its own is no change
        target = self.target(config=self.write(first))
        load = self.start("perf", target, "--subnqn", NQN, "--rw", "randrw", "--bs", "4k",
                          "--iodepth", "16", "--time_based", "--runtime", "600", "--verify", "crc32c",
                          "--output-format", "json", "--group_reporting", "--eta", "always")
        self.addCleanup(load.kill)
        load.stderr.readline()  # it runs
        self.write(first, (7, "ram:1MiB"))
        target.reload()
        self.assertEqual(self.shown(target), [1, 7])
        for text, named in (("{", "target.json"), ('{"listne": []}', "listne"),
                            (json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "subsystems": [
                                {"nqn": NQN, "namespaces": [{"storage": "tape:1"}]}]}), "tape:1")):
            self.write(text=text)
            self.assertIn(named, target.reload())
            self.assertEqual(self.shown(target), [1, 7])
        self.write(first)
        target.reload()
        self.assertEqual(self.shown(target), [1])
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, err.decode())
        self.assert_verified(*self.job_of(out))

    def test_a_reload_says_what_it_changed_and_whom_it_dropped(self):
        def served(hosts, *namespaces):
            return self.write(text=json.dumps({
                "listen": ["uiwarp://127.0.0.1:0"], "subsystems": [{
                    "nqn": NQN, "hosts": hosts,
                    "namespaces": [{"nsid": n, "storage": s} for n, s in namespaces]}]}))

        one, two = "nqn.2026-11.org.mrpool:one", "nqn.2026-11.org.mrpool:two"
        kept = (4, "ram:1MiB,name=d")
        target = self.target(config=served([one, two], (1, "ram:1MiB,name=a"),
                                           (2, "ram:1MiB,name=b"), kept))
        loads = {}
        for nsid in (1, 4):
            loads[nsid] = self.start("perf", target, *self.name, "--host-nqn", one, "--nsid", nsid,
                                     "--time_based", "--runtime", "600", "--eta", "always")
            self.addCleanup(loads[nsid].kill)
            loads[nsid].stderr.readline()
        self.assertIn("reloaded: nothing changed\n", target.reload())
        served([two], (2, "ram:1MiB,name=b,bs=512"), (3, "ram:1MiB,name=c"), kept)
        self.assertIn(f"reloaded: added {NQN} namespace 3; removed {NQN} namespace 1; changed "
                      f"hosts of {NQN}, {NQN} namespace 2\n", target.reload())
        _, err = loads[4].communicate(timeout=PATIENCE)
        self.assertEqual(loads[4].returncode, 3, err.decode())
        # Its namespace went too, and it may see that first; it says which.
        _, err = loads[1].communicate(timeout=PATIENCE)
        self.assertRegex(f"{loads[1].returncode} {err.decode()}",
                         "(?s)3 .*mrpool-nvmf: connection|1 .*namespace 1 was replaced")
        self.expect_said(target, f" of {one} at {NQN}: dropped, the host may no longer connect")

    def test_another_store_in_the_place_of_the_one_in_use_is_the_cause(self):
        self.check_replaced_while_it_is_used(
            lambda file: self.write((1, f"file:{file}")),
            "namespace 1 was replaced")

    def identities(self, target):
        out, _ = self.run_host("identify", target, "--subnqn", NQN, "--output-format", "json")
        return {n["nsid"]: n["nguid"] for n in json.loads(out)["namespaces"]}

    def test_a_store_keeps_its_data_and_identity_wherever_it_stands(self):
        def serve(*storage):
            return self.write(text=json.dumps({
                "listen": ["uiwarp://127.0.0.1:0"],
                "subsystems": [{"nqn": NQN, "namespaces": [{"storage": s} for s in storage]}]}))
        disk = f"file:{self.file('disk', MIB)}"
        path = serve("ram:1MiB", "ram:2MiB", disk)
        target = self.target(config=path)
        before = self.identities(target)
        data = os.urandom(4096)
        self.run_host("write", target, "--subnqn", NQN, "--nsid", "2", data=data)
        serve("ram:2MiB", f"{disk},nsid=9")
        self.assertIn("reloaded", target.reload())
        self.assertEqual(self.identities(target), {1: before[2], 9: before[3]})
        out, _ = self.run_host("read", target, "--subnqn", NQN, "--nsid", "1")
        self.assertEqual(out[:4096], data)
        # Another block size and the write protection are no other store either.
        serve(f"{disk},ro,bs=512,nsid=9")
        self.assertIn("reloaded", target.reload())
        self.assertEqual(self.identities(target), {9: before[3]})
        # Another file under the same path is.
        os.replace(self.file("other", MIB), self.folder / "disk")
        self.assertIn("reloaded", target.reload())
        self.assertNotEqual(self.identities(target), {9: before[3]})

    def test_a_file_that_grows_shrinks_or_is_replaced_is_noticed(self):
        disk = self.file("disk", MIB)
        target = self.target("--namespace", f"file:{disk},bs=512")

        def blocks():
            out, _ = self.run_host("identify", target, "--subnqn", NQN, "--output-format", "json")
            return json.loads(out)["namespaces"][0]["nsze"]

        os.truncate(disk, 2 * MIB)
        until(lambda: "grew from 1048576 to 2097152" in target.output(), target.output)
        self.assertEqual(blocks(), 4096)
        os.truncate(disk, MIB)
        until(lambda: "shrank from 2097152 to 1048576" in target.output(), target.output)
        self.assertEqual(blocks(), 2048)
        os.replace(self.file("other", MIB), disk)
        until(lambda: "was replaced" in target.output(), target.output)

    def test_what_a_reload_cannot_change_is_named_and_nothing_changes(self):
        path = self.write((1, "ram:1MiB"))
        target = self.target("--mrs", "64", config=path)
        config = json.loads(path.read_text())
        config["subsystems"][0]["namespaces"].append({"storage": "ram:2MiB"})
        self.write(text=json.dumps({**config, "threads": 2, "staging": "16MiB", "mrs": 7}))
        self.assertIn("threads, staging cannot change while the daemon runs", target.reload())
        self.assertEqual(self.shown(target), [1])
        self.write(text=json.dumps(config))
        self.assertIn("reloaded", target.reload())
        self.assertEqual(self.shown(target), [1, 2])


class Sanitizer(TargetTest):
    def test_verified_load_under_adversarial_placement(self):
        self.verified_under_adversarial_placement("--namespace", "ram:8MiB",
                                                  loads=((8, 16), (32, 4)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
