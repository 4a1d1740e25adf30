#!/usr/bin/env python3
"""What a change of the configuration does to stores: all of it, or nothing. The same tests for both
daemons, one class a ctest (CMakeLists.txt)."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from harness import BIN, IQN, NQN, PATIENCE, IserTargetTest, TargetTest, until

MIB = 1 << 20


class Changes:
    """The tests, for both protocols."""

    def configure(self, *stores, listen="uiwarp://127.0.0.1:0"):
        path = self.folder / "target.json"
        text = self.folder / "target.new"
        text.write_text(json.dumps(self.configuration(listen, stores)))
        os.replace(text, path)  # in one piece: the daemon reads it when it likes
        return path

    def load(self, target, *options):
        process = self.start("perf", target, *self.name, "--bs", "4k", "--iodepth", "16",
                             "--time_based", "--runtime", "600", "--eta", "always", *options)
        self.addCleanup(process.kill)
        process.stderr.readline()  # it runs
        return process

    def verified(self, target, *options):
        """A run over all blocks of the first store that checks what it writes or finds."""
        self.run_host("perf", target, *self.name, "--bs", "4k", "--verify", "crc32c", "--eta", "never",
                      *options)

    def test_a_reload_asked_for_while_it_starts(self):
        """It comes after the start."""
        path = self.configure("ram:1MiB")
        config = json.loads(path.read_text())
        target = (config.get("subsystems") or config["targets"])[0]
        name = NQN if self.admitted == "hosts" else IQN
        target[self.admitted] = [f"{name}:{number}" for number in range(20000)]
        path.write_text(json.dumps(config))  # takes its time
        with open(self.folder / "log", "w", encoding="utf-8") as log:
            process = subprocess.Popen([BIN / self.program, "--config", path], stdout=log,
                                       stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        counted = pathlib.Path(f"/proc/{process.pid}/io")
        size = path.stat().st_size
        until(lambda: int(counted.read_text().split()[1]) > size, lambda: "it reads nothing")
        process.send_signal(signal.SIGHUP)
        log = self.folder / "log"
        until(lambda: process.poll() is not None or "reloaded: nothing" in log.read_text(),
              log.read_text)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=PATIENCE), 0, log.read_text())

    def check_ends_run(self, change, before, after):
        """`change(target, disk)` gives the store in use another shape, of `before` and `after` blocks
        and their bytes: the load on it ends and says so."""
        disk = self.file(f"disk{len(os.listdir(self.folder))}", 4 * MIB)
        target = self.target(config=self.configure(f"file:{disk},bs={before[1]}"))
        self.verified(target, "--rw", "write")
        load = self.load(target, "--rw", "randwrite", "--verify", "crc32c")
        change(target, disk)
        out, err = load.communicate(timeout=PATIENCE)
        said = err.decode()
        self.assertEqual(load.returncode, 1, said)
        last = said.splitlines()[-1]
        numbers = re.findall(r"(\d+) (?:blocks )?of (\d+)", last)
        # A host of NVMe-oF cannot ask for another block size without being taken for one that
        # means it.
        if before[1] == after[1] or "same identifiers again, as when its block size changes" not in last:
            self.assertIn(tuple(map(str, before)), numbers, said)
            now = next(int(blocks) for blocks, size in numbers
                       if (int(blocks), int(size)) != before and int(size) == after[1])
            # A write that was under way when the file was cut makes it longer again, to its own end.
            self.assertIn(now, range(after[0], before[0]) if after[0] < before[0] and
                          before[1] == after[1] else [after[0]], said)
        self.assertIn(" 0 verification errors", out.decode())
        return target

    def take_back(self, target):
        """The reload that serves a store again of which commands are under way. The daemon gives them
        three seconds, which a busy machine may exceed."""
        said = target.reload()
        while "is still in use 3 s later" in said:
            said = target.reload()
        return said

    def test_a_store_is_taken_back_right_after_it_was_let_go_of(self):
        disk = f"file:{self.file('disk', MIB)}"
        other = "ram:1MiB,name=other"
        target = self.target(config=self.configure(other, disk))
        for _ in range(3):
            load = self.load(target, *self.second, "--rw", "randrw")
            self.configure(other)
            self.assertIn("reloaded: removed", target.reload())
            self.configure(other, f"{disk},ro")  # the same store with another option
            self.assertIn("reloaded: added", self.take_back(target))
            load.communicate(timeout=PATIENCE)
            self.configure(other, disk)
            self.assertIn("reloaded: changed", target.reload())

    def test_a_refused_configuration_leaves_no_file_behind(self):
        disk, made = self.file("disk", MIB), self.folder / "made"
        # Each would be well but for the last store.
        stores = [f"file:{made},size=1MiB", f"file:{disk},size=2MiB"]
        refusals = {"file:/nowhere/disk,size=1MiB": 1, f"file:{self.folder}/b,size=9000000TiB": 2}
        for last, status in refusals.items():
            config = self.configure(*stores, last)
            self.refused(self.program, "--config", config, expect=status)
            self.assertEqual(sorted(os.listdir(self.folder)), ["disk", "target.json"])
            self.assertEqual(disk.stat().st_size, MIB)
        target = self.target(config=self.configure(f"file:{disk}"))
        for last in refusals:
            self.configure(f"file:{disk}", stores[0], last)
            self.assertIn("reload refused, nothing changed", target.reload())
            self.assertFalse(made.exists())
            self.configure(stores[1], stores[0], last)
            self.assertIn("reload refused, nothing changed", target.reload())
            self.assertFalse(made.exists())
            self.assertEqual(disk.stat().st_size, MIB)
        taken = self.configure(stores[0], listen=target.address)
        self.refused(self.program, "--config", taken, expect=1)
        self.assertFalse(made.exists())
        self.configure(stores[1], stores[0])
        self.assertIn("reloaded: added", target.reload())
        self.assertEqual((disk.stat().st_size, made.stat().st_size), (2 * MIB, MIB))


    def test_another_block_size_ends_the_run(self):
        for before, after in ((512, 4096), (4096, 512)):
            with self.subTest(after=after):
                def change(target, disk, after=after):
                    self.configure(f"file:{disk},bs={after}")
                    self.assertIn("reloaded: changed", target.reload())
                target = self.check_ends_run(change, (4 * MIB // before, before),
                                             (4 * MIB // after, after))
                self.verified(target, "--rw", "read")

    def test_another_size_ends_the_run(self):
        for size in (8 * MIB, 2 * MIB):
            for by_signal in (True, False):
                with self.subTest(size=size, by_signal=by_signal):
                    def change(target, disk, size=size, by_signal=by_signal):
                        os.truncate(disk, size)
                        if by_signal:  # unless a request has met the end before
                            self.assertIn("reloaded: ", target.reload())
                    target = self.check_ends_run(change, (1024, 4096), (size // 4096, 4096))
                    self.verified(target, "--rw", "read", "--size", min(size, 4 * MIB))


    def test_what_is_not_a_store_is_reported_too(self):
        path = self.configure("ram:1MiB,name=a")
        target = self.target(config=path)
        config = json.loads(path.read_text())
        for key, value, said in self.other_changes:
            where = config if key == "open_discovery" else next(iter(
                config.get("subsystems") or config["targets"]))
            where[key] = value
            path.write_text(json.dumps(config))
            self.assertIn(f"reloaded: {said}\n", target.reload())


class Nvmf(Changes, TargetTest):
    admitted = "hosts"
    second = ["--nsid", "2"]
    other_changes = [("serial", "0001", f"changed {NQN}"),
                     ("traffic_based_keep_alive", False, f"changed {NQN}")]
    program = "mrpool-nvmf-target"

    def configuration(self, listen, stores):
        return {"listen": [listen], "subsystems": [
            {"nqn": NQN, "namespaces": [{"storage": each} for each in stores]}]}


class Iser(Changes, IserTargetTest):
    admitted = "initiators"
    second = ["--lun", "1"]
    other_changes = [("alias", "a disk", f"added alias of {IQN}"),
                     ("alias", "the disk", f"changed alias of {IQN}"),
                     ("open_discovery", True, "changed discovery")]
    program = "mrpool-iser-target"

    def configuration(self, listen, stores):
        return {"listen": [listen], "targets": [{"name": IQN, "luns": list(stores)}]}


if __name__ == "__main__":
    unittest.main()
