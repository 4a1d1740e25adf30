#!/usr/bin/env python3
"""mrpool-nvmf against mrpool-nvmf-target over uiwarp, as processes.

    MRPOOL_BIN=build/dev/bin tests/integration/nvmf_test.py [Class[.test]]...
"""
import hashlib
import json
import random
import resource
import signal
import socket
import subprocess
import time
import unittest

from harness import BIN, NQN, PATIENCE, TargetTest, connections, until

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

    def test_identify_shows_the_namespaces(self):
        target = self.target("--namespace", "ram:1MiB", "--namespace", "null:1GiB")
        out, _ = self.run_host("identify", target, "--subnqn", NQN, "--output-format", "json")
        shown = json.loads(out)
        self.assertEqual(shown["controller"]["subnqn"], NQN)
        sizes = [n["nsze"] * n["block_size"] for n in shown["namespaces"]]
        self.assertEqual(sizes, [MIB, 1 << 30])
        out, _ = self.run_host("identify", target, "--subnqn", NQN)
        self.assertIn("namespace, 1GiB", out.decode())


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
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--runtime", "1")

    def test_ram_four_jobs(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--runtime", "1",
                   "--numjobs", "4")

    def test_file_one_job(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--runtime", "1",
                   namespace=self.file_namespace())

    def test_file_four_jobs(self):
        self.check("--rw", "randrw", "--bs", "4k", "--iodepth", "32", "--runtime", "1",
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
                   "--runtime", "0.3")

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
                          "--iodepth", "32", "--runtime", "3", "--verify", "crc32c",
                          "--output-format", "json", "--group_reporting")
        self.addCleanup(mine.kill)
        killed = 0
        dice = random.Random(5)
        while mine.poll() is None and killed < 12:
            other = self.start("perf", target, "--subnqn", NQN, "--nsid", "2", "--rw", "randrw",
                               "--bs", "128k", "--iodepth", "16", "--runtime", "60")
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

    def test_input_that_does_not_fit(self):
        target = self.target("--namespace", "ram:1MiB")
        _, err = self.run_host("write", target, "--subnqn", NQN, "--offset", "512k",
                               data=bytes(600 << 10), expect=1)
        self.assertIn("does not fit", err)


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

    def test_wrong_namespace(self):
        target = self.target("--namespace", "ram:1MiB")
        _, err = self.run_host("read", target, "--subnqn", NQN, "--nsid", "9", expect=3)
        self.assertIn("no namespace 9", err)

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
                               ("perf", target.address, *self.name, "--size", "64k"))


class StorageErrors(TargetTest):
    """What the kernel says of a file reaches the host as a status; the daemon serves on."""

    def test_no_space_left(self):
        target = self.target("--namespace", f"file:{self.file('disk', 16 * MIB)}")
        # The kernel refuses what lies beyond, as it would without space or quota.
        resource.prlimit(target.process.pid, resource.RLIMIT_FSIZE, (4 * MIB, 4 * MIB))
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
        self.assertIn("lba_out_of_range", err)
        out, _ = self.run_host("read", target, "--subnqn", NQN, "--size", "1m")
        self.assertEqual(out, data)


class Interruptions(TargetTest):
    def test_sigint_ends_a_load_with_its_verification(self):
        target = self.target("--namespace", "ram:4MiB")
        process = self.start("perf", target, "--subnqn", NQN, "--rw", "randrw", "--runtime", "600",
                             "--iodepth", "8", "--verify", "crc32c", "--output-format", "json",
                             "--group_reporting", "--eta", "always")
        process.stderr.readline()  # the first line of a load that runs
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, err.decode())
        self.assert_verified(*self.job_of(out))

    def test_a_write_that_waits_for_input(self):
        self.check_interrupted_input(signal.SIGTERM, 130)

    def test_a_connection_that_does_not_come(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            process = self.start("discover", f"uiwarp://127.0.0.1:{silent.getsockname()[1]}",
                                 "--connect-timeout", "600")
            self.addCleanup(process.kill)
            with silent.accept()[0]:  # from here on it waits for an answer
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, -signal.SIGINT)

    def kill_under_load(self, disk, *options):
        """Returns the load, which had begun, and the killed target."""
        # Of an address of its own: another program could be given the port before it is back.
        target = self.target("--namespace", disk, host=f"127.{random.randrange(1, 255)}.7.7")
        process = self.start("perf", target, "--subnqn", NQN, "--rw", "randrw", "--bs", "4k",
                             "--iodepth", "32", "--numjobs", "2", "--runtime", "600", "--verify",
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
        until(lambda: connections(killed.port) >= 3, lambda: "the host does not come back")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, err.decode())
        job, own = self.job_of(out)
        self.assert_verified(job, own)
        self.assertGreaterEqual(own["reconnects"], 1)
        self.assertGreater(own["resubmitted"], 0)

    def test_without_reconnect_the_loss_is_an_error(self):
        process, _ = self.kill_under_load(f"file:{self.file('disk', 16 * MIB)}")
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1, err.decode())
        job, _ = self.job_of(out)
        self.assertGreater(job["io_errors"], 0)
        self.assertIn("connection lost", err.decode())


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
                          "--iodepth", "16", "--runtime", "600", "--verify", "crc32c",
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


class Sanitizer(TargetTest):
    def test_verified_load_under_adversarial_placement(self):
        self.verified_under_adversarial_placement("--namespace", "ram:8MiB",
                                                  loads=((8, 16), (32, 4)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
