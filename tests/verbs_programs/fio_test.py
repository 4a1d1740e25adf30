#!/usr/bin/env python3
"""fio's rdma engine by mrpool-run moves the right bytes, in each of its modes.

    fio_test.py MRPOOL_RUN

fio verifies what its receiver gets by SEND. In the modes `write` and `read` no I/O of fio's completes
where the data arrives, so fio has nothing to verify; here its buffers are files, and the files are
compared.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import programs_test

MRPOOL_RUN = ""
TIME_LIMIT = 120
BLOCK = 1 << 16
PATTERN = bytes.fromhex("5a17c0de")


class Fio(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="mrpool-fio-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, name, port, options):
        process = subprocess.Popen(
            # Threads: a job that has a process of its own would outlive a fio that is killed.
            [MRPOOL_RUN, "fio", "--thread", f"--name={name}", "--ioengine=rdma", f"--port={port}", f"--bs={BLOCK}",
             "--size=1m", *options], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def run_pair(self, receiver, sender):
        """Starts both; returns them."""
        port = programs_test.free_port()
        server = self.start("receiver", port, ["--rw=read", *receiver])
        deadline = time.monotonic() + TIME_LIMIT
        while not programs_test.listens(port) and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return server, self.start("sender", port, ["--rw=write", "--hostname=127.0.0.1", *sender])

    def end_well(self, *processes):
        for each in reversed(processes):
            output, _ = each.communicate(timeout=TIME_LIMIT)
            self.assertEqual(each.returncode, 0, output)

    def memory(self, name, pattern):
        """A file that is a job's buffer, large enough for what fio adds to it."""
        path = self.folder / name
        path.write_bytes(pattern * (16 * BLOCK // len(pattern)))
        return path, f"--mem=mmapshared:{path}"

    def blocks_in(self, path):
        """Whole blocks of the pattern in a job's buffer."""
        return path.read_bytes().count(PATTERN * (BLOCK // len(PATTERN)))

    def test_send_is_verified(self):
        self.end_well(*self.run_pair(["--verify=crc32c"], ["--verify=crc32c", "--verb=send"]))

    def test_a_wrong_send_is_found(self):
        server, _ = self.run_pair(["--verify=crc32c"], ["--verify=md5", "--verb=send"])
        output, _ = server.communicate(timeout=TIME_LIMIT)
        self.assertNotEqual(server.returncode, 0)
        self.assertIn("verify type mismatch", output)

    def test_write_arrives(self):
        sink, option = self.memory("sink", b"\0")
        self.end_well(*self.run_pair([option], ["--verb=write", f"--buffer_pattern=0x{PATTERN.hex()}"]))
        self.assertEqual(self.blocks_in(sink), 1)

    def test_read_brings_what_is_there(self):
        _, source_option = self.memory("source", PATTERN)
        sink, sink_option = self.memory("sink", b"\0")
        self.end_well(*self.run_pair([source_option], ["--verb=read", sink_option]))
        self.assertEqual(self.blocks_in(sink), 1)


if __name__ == "__main__":
    MRPOOL_RUN = os.path.abspath(sys.argv.pop(1))
    unittest.main()
