#!/usr/bin/env python3
"""The programs in C do what they say, alone and with those in C++: MRPOOL_BIN=BIN_DIR c_test.py [CASE]."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest

BIN = pathlib.Path(os.environ["MRPOOL_BIN"])


class Server:
    """A program that prints its port; ends with the block."""

    def __init__(self, program):
        self.process = subprocess.Popen([BIN / program, "uiwarp://127.0.0.1:0"],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.address = "uiwarp://127.0.0.1:" + re.search(r"port (\d+)", line).group(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def run(*command, data=None):
    return subprocess.run([BIN / command[0], *map(str, command[1:])], input=data,
                          capture_output=True, timeout=100, check=False)


class Hello(unittest.TestCase):
    def talk(self, server_program, client_program):
        with Server(server_program) as server:
            client = run(client_program, server.address)
            heard = server.process.stdout.read()
            self.assertEqual(server.process.wait(timeout=60), 0)
        self.assertEqual(client.returncode, 0, client.stderr)
        self.assertIn("is anybody there?", heard)
        self.assertIn(b"hello from uiwarp", client.stdout)

    def test_c_with_c(self):
        self.talk("hello_server_c", "hello_client_c")

    def test_c_with_cpp(self):
        self.talk("hello_server", "hello_client_c")
        self.talk("hello_server_c", "hello_client")

    def test_nobody_listens(self):
        client = run("hello_client_c", "uiwarp://127.0.0.1:1")
        self.assertEqual(client.returncode, 1)
        self.assertIn(b"hello_client_c: disconnected", client.stderr)
        client = run("hello_client_c", "nonsense://")
        self.assertEqual(client.returncode, 1)
        self.assertIn(b"nonsense", client.stderr)


class Block(unittest.TestCase):
    target = "block_target_c"
    exit_status = 0

    def test_what_is_written_is_read(self):
        data = os.urandom(3_000_001)
        with Server(self.target) as server:
            wrote = run("block_client_c", server.address, "write", 12345, len(data), data=data)
            self.assertEqual(wrote.returncode, 0, wrote.stderr)
            # Four clients at a time want more MRs than the pool has.
            command = [BIN / "block_client_c", server.address, "read", "12345", str(len(data))]
            clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
            for client in clients:
                output, _ = client.communicate(timeout=100)
                self.assertEqual(client.returncode, 0)
                self.assertTrue(output == data, "other bytes than were written")
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(timeout=60), self.exit_status)

    def test_beyond_the_end(self):
        with Server(self.target) as server:
            refused = run("block_client_c", server.address, "read", 16 << 20, 1)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(b"Invalid argument", refused.stderr)
            refused = run("block_client_c", server.address, "read", (1 << 64) - 1, 1)
            self.assertIn(b"Invalid argument", refused.stderr)
            again = run("block_client_c", server.address, "read", (16 << 20) - 1, 1)
            self.assertEqual(again.stdout, b"\0")

    def test_a_client_that_dies_harms_nobody(self):
        with Server(self.target) as server:
            for _ in range(5):
                client = subprocess.Popen(
                    [BIN / "block_client_c", server.address, "read", "0", str(16 << 20)],
                    stdout=subprocess.DEVNULL)
                client.kill()
                client.wait(timeout=60)
            good = run("block_client_c", server.address, "read", 0, 100_000)
            self.assertEqual(good.returncode, 0, good.stderr)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(timeout=60), self.exit_status)


class Tutorial(unittest.TestCase):
    """The target of docs/start/tutorial.md, which speaks the same protocol in C++."""
    target = "tutorial_target"
    exit_status = -signal.SIGTERM
    test_what_is_written_is_read = Block.test_what_is_written_is_read
    test_beyond_the_end = Block.test_beyond_the_end
    test_a_client_that_dies_harms_nobody = Block.test_a_client_that_dies_harms_nobody


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main(verbosity=2)
