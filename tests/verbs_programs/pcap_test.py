#!/usr/bin/env python3
"""mrpool-run --pcap: Wireshark reads what the connections of unmodified programs carried.

    pcap_test.py MRPOOL_RUN

Needs tshark.
"""
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

import programs_test

MRPOOL_RUN = ""
# All of a stream is MPA, whatever else its port may be known for; SENDs carry a pattern.
DECODE = ["-o", "tcp.try_heuristic_first:TRUE", "--disable-protocol", "rpcordma", "--disable-protocol",
          "smb_direct", "-V", "-O", "tcp,iwarp_mpa,iwarp_ddp_rdmap"]
TIME_LIMIT = 120


def decode(path):
    """What Wireshark says of a capture, and how often it saw each operation."""
    done = subprocess.run(["tshark", "-r", str(path), *DECODE], capture_output=True, text=True,
                          timeout=TIME_LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    seen = collections.Counter(re.findall(r"OpCode: (.*?) \(0x", done.stdout))
    return done.stdout, seen


class Pcap(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="mrpool-pcap-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_pair(self, server, client, options, client_options):
        port = programs_test.free_port()
        start = lambda words, command: subprocess.Popen(
            [MRPOOL_RUN, *words, *command.replace("PORT", str(port)).split()], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        first = start(options, server)
        deadline = time.monotonic() + TIME_LIMIT
        while not programs_test.listens(port) and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        second = start(client_options, client)
        for each in (second, first):
            output, _ = each.communicate(timeout=TIME_LIMIT)
            self.assertEqual(each.returncode, 0, output)

    def check(self, path):
        text, seen = decode(path)
        for word in ("Malformed", "Bad CRC", "Unreassembled", "Dissector bug", "Previous segment",
                     "Out-Of-Order", "Retransmission"):
            self.assertFalse(word in text, f"Wireshark says {word} of {path}")
        self.assertEqual(len(re.findall("Good CRC", text)), len(re.findall(r"ULPDU length: \d+", text)))
        for word in ("Request frame header", "Reply frame header"):
            self.assertTrue(word in text, f"no {word} in {path}")
        return seen

    def test_both_ends_tell_the_same(self):
        one, other = self.folder / "server.pcap", self.folder / "client-%p.pcap"
        program = "ibv_rc_pingpong -n 20 -s 100000 -p PORT"
        self.run_pair(program, f"{program} 127.0.0.1", ["--pcap", str(one)], [f"--pcap={other}"])
        (other,) = self.folder.glob("client-*.pcap")
        self.assertNotIn("%", other.name)
        seen = [self.check(path) for path in (one, other)]
        self.assertEqual(*seen)
        self.assertEqual(seen[0]["Send"], 2 * 20 * 2)  # two segments each
        self.assertGreater(seen[0]["Write"], 0)  # credits

    def test_connections_without_a_crc(self):
        program = "ibv_rc_pingpong -n 20 -p PORT"
        for other in "off", "on":  # one end that wants it is enough (RFC 5044, section 7.1)
            path = self.folder / f"{other}.pcap"
            self.run_pair(program, f"{program} 127.0.0.1", ["--crc=off", "--pcap", str(path)],
                          [f"--crc={other}"])
            text, seen = decode(path)
            self.assertEqual(seen["Send"], 2 * 20)
            self.assertEqual("Good CRC" in text, other == "on", path)

    def test_ipv6_reads_and_the_checker(self):
        one = self.folder / "server.pcap"
        self.run_pair("rping -s -a ::1 -p PORT -C 5", "rping -c -a ::1 -p PORT -C 5",
                      ["--check", f"--pcap={one}"], ["--check"])
        seen = self.check(one)
        self.assertEqual(seen["Read Request"], 5)
        self.assertEqual(seen["Read Response"], 5)

    def test_children_have_files_of_their_own(self):
        one = self.folder / "all.pcap"
        port = programs_test.free_port()
        script = (f"ibv_rc_pingpong -n 5 -p {port} & sleep 1; "
                  f"ibv_rc_pingpong -n 5 -p {port} 127.0.0.1 && wait $!")
        done = subprocess.run([MRPOOL_RUN, "--pcap", str(one), "sh", "-c", script], capture_output=True,
                              text=True, timeout=TIME_LIMIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        files = list(self.folder.glob("all.pcap.*"))
        self.assertEqual(len(files), 2)
        for path in files:
            self.assertEqual(self.check(path)["Send"], 10)
        decode(one)  # the shell's: no packets, but a capture

    def test_a_file_that_cannot_be_written(self):
        for path in (self.folder / "none" / "x.pcap", self.folder, "/dev/full"):
            done = subprocess.run([MRPOOL_RUN, f"--pcap={path}", "true"], capture_output=True, text=True,
                                  timeout=TIME_LIMIT, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(str(path), done.stderr)
            self.assertIn("name a file in a folder that you may write", done.stderr)

    def test_a_childs_file_that_cannot_be_written(self):
        folder = self.folder / "gone"
        folder.mkdir()
        done = subprocess.run(
            [MRPOOL_RUN, f"--pcap={folder}/x.pcap", "sh", "-c", f"rm -r {folder}; ibv_devinfo; exit $?"],
            capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"--pcap: cannot write '.*/gone/x\.pcap\.\d+'.*; name a file")

    def test_nothing_is_written_without_it(self):
        subprocess.run([MRPOOL_RUN, "ibv_devinfo"], cwd=self.folder, capture_output=True,
                       timeout=TIME_LIMIT, check=True)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    MRPOOL_RUN = os.path.abspath(sys.argv.pop(1))
    unittest.main()
