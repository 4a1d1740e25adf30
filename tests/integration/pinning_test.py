#!/usr/bin/env python3
"""Another disk comes to stand behind the number that an initiator uses, by SIGHUP, while it works:
the run ends with a status other than 0 and names the other disk, of which not a byte has changed."""
import json
import os
import pathlib
import re
import unittest

from harness import IQN, NQN, PATIENCE, IserTarget, Target, TargetTest, until

MIB = 1 << 20
SIZE = 16 * MIB


def target_of(link):
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return None  # closed meanwhile


class Pinned:
    """The tests, for both protocols."""

    rounds = 3  # of the loads: when the swap comes is a matter of chance

    def serve(self, disk):
        path = self.folder / "target.json"
        # In one piece, for the daemon reads it when it likes.
        text = self.folder / "target.new"
        text.write_text(self.configuration(f"file:{disk},bs=512"))
        os.replace(text, path)
        return path

    def setUp(self):
        super().setUp()
        self.own, self.other = self.file("own", SIZE), self.file("other", SIZE)
        self.running = self.target(config=self.serve(self.other))
        self.other_name = self.identity()
        self.swap_back()
        self.assertNotEqual(self.identity(), self.other_name)

    def swap(self):
        self.put(self.other)

    def swap_back(self):
        self.put(self.own)

    def put(self, disk):
        # A store that one reload lets go of has a volume until its last command has ended.
        until(lambda: not self.holds(disk), lambda: f"{disk} is kept open")
        self.serve(disk)
        self.assertIn("reloaded", self.running.reload())

    def holds(self, disk):
        links = pathlib.Path(f"/proc/{self.running.process.pid}/fd").iterdir()
        return any(target_of(link) == str(disk) for link in links)

    def expect_end(self, process):
        out, err = process.communicate(timeout=PATIENCE)
        said = err.decode() + (out.decode(errors="replace") if len(out) < 65536 else "")
        self.assertNotEqual(process.returncode, 0, said)
        self.assertIn(self.other_name, said)
        self.assertFalse(any(self.other.read_bytes()), "the other disk was written to")

    def load(self, *options):
        process = self.start("perf", self.running, *self.which, "--bs", "4k", "--time_based",
                             "--runtime", "600", "--eta", "always", *options)
        self.addCleanup(process.kill)
        process.stderr.readline()  # it runs
        return process

    def test_loads(self):
        for options in (("--rw", "randrw", "--iodepth", "16", "--verify", "crc32c"),
                        ("--rw", "randwrite", "--iodepth", "1"),
                        ("--rw", "randwrite", "--iodepth", "8", "--numjobs", "3"),
                        ("--rw", "randwrite", "--iodepth", "4", "--rate_iops", "200")):
            for _ in range(self.rounds):
                with self.subTest(options=options):
                    process = self.load(*options)
                    self.swap()
                    self.expect_end(process)
                    self.swap_back()

    def test_a_write(self):
        process = self.start("write", self.running, *self.which, stdin=-1)
        self.addCleanup(process.kill)
        process.stdin.write(b"x" * 4 * MIB)
        process.stdin.flush()
        until(lambda: any(self.own.read_bytes()), lambda: "nothing is written")
        self.swap()
        try:
            process.stdin.write(b"x" * 4 * MIB)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has heard of the change before it read on
        self.expect_end(process)

    def test_a_read(self):
        self.own.write_bytes(b"o" * SIZE)
        self.other.write_bytes(b"\0" * SIZE)
        process = self.start("read", self.running, *self.which)
        self.addCleanup(process.kill)
        first = process.stdout.read(4096)
        self.swap()
        out, err = process.communicate(timeout=PATIENCE)
        self.assertNotEqual(process.returncode, 0, err.decode())
        self.assertIn(self.other_name, err.decode())
        self.assertLess(len(first + out), SIZE)
        self.assertFalse((first + out).strip(b"o"), "data of the other disk came")


class Nvmf(Pinned, TargetTest):
    which = ["--subnqn", NQN]

    @staticmethod
    def configuration(disk):
        return json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "subsystems": [
            {"nqn": NQN, "namespaces": [{"nsid": 1, "storage": disk}]}]})

    def identity(self):
        out, _ = self.run_host("identify", self.running, *self.which, "--output-format", "json")
        return json.loads(out)["namespaces"][0]["nguid"]


class Iser(Pinned, TargetTest):
    target_class = IserTarget
    host_program = "mrpool-iser"
    which = ["--target", IQN]

    @staticmethod
    def configuration(disk):
        return json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "targets": [
            {"name": IQN, "luns": [{"storage": disk, "lun": 0}]}]})

    def identity(self):
        out, _ = self.run_host("inq", self.running, *self.which)
        return re.search(r"serial: +(\S+)", out.decode()).group(1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
