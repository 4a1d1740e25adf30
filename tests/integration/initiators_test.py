#!/usr/bin/env python3
"""What both initiators do alike: signals and mistakes. The same tests for both, one class a ctest
(CMakeLists.txt)."""
import contextlib
import itertools
import signal
import socket
import struct
import subprocess
import time
import unittest

from harness import PATIENCE, IserTargetTest, TargetTest, connections, until

# So that nothing but a signal ends a command.
FOR_EVER = ["--timeout", "3600", "--connect-timeout", "3600"]


@contextlib.contextmanager
def silent_peer(says_hello):
    """A peer that takes connections and says nothing, or nothing after MPA's hello."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)

        def accept():
            connection = server.accept()[0]
            connection.settimeout(PATIENCE)
            head = connection.recv(20, socket.MSG_WAITALL)
            flags, revision, length = struct.unpack(">BBH", head[16:])
            private = connection.recv(length, socket.MSG_WAITALL)
            if says_hello:
                reply = private[:4]
                connection.sendall(b"MPA ID Rep Frame" +
                                   struct.pack(">BBH", flags, revision, len(reply)) + reply)
                connection.recv(1)  # what comes next waits for an answer
            return connection

        yield f"uiwarp://127.0.0.1:{server.getsockname()[1]}", accept


class Interruptions:
    """A signal ends every command within a second, in every phase, with one status and one line."""

    endless = {"read": ["--output", "/dev/null"], "write": ["--input", "/dev/zero"],
               "perf": ["--time_based", "--runtime", "3600", "--eta", "always"]}

    def setUp(self):
        super().setUp()
        self.numbers = itertools.cycle((signal.SIGINT, signal.SIGTERM))

    def begin(self, command, target, *options):
        process = self.start(command, target, *options, *FOR_EVER, stdin=subprocess.PIPE)
        self.addCleanup(process.kill)
        return process

    def end(self, process):
        begun = time.monotonic()
        process.send_signal(next(self.numbers))
        _, err = process.communicate(timeout=PATIENCE)
        # It gives itself a second; all else here takes an hour. A busy machine is in between.
        self.assertLess(time.monotonic() - begun, 120)
        self.assertEqual(process.returncode, 130, err.decode())
        self.assertEqual(err.decode().splitlines()[-1], f"{self.host_program}: interrupted")

    def test_while_it_connects_or_logs_in(self):
        for says_hello in (False, True):
            for command in (*self.asks, "read", "write", "perf"):
                name = [] if command == self.asks[0] else self.name
                for _ in range(2):
                    with self.subTest(command=command, says_hello=says_hello), \
                            silent_peer(says_hello) as (address, accept):
                        process = self.begin(command, address, *name)
                        with accept():
                            self.end(process)

    def copying(self, command, target, *options):
        process = self.begin(command, target, *self.name, *options)
        until(lambda: connections(target.port) >= 1, lambda: "nobody connects")
        time.sleep(0.3)  # it copies by now; earlier it ends in the same way
        return process

    def test_while_it_copies(self):
        target = self.target(*self.endless_storage)
        for command in ("read", "write"):
            for _ in range(2):
                with self.subTest(command=command):
                    self.end(self.copying(command, target, *self.endless[command]))

    def test_while_a_pipe_is_full(self):
        target = self.target(*self.endless_storage)
        for _ in range(2):
            self.end(self.copying("read", target))

    def test_while_a_pipe_is_empty(self):
        target = self.target(*self.endless_storage)
        for _ in range(2):
            self.end(self.copying("write", target))

    def test_while_the_target_hangs(self):
        for command in ("read", "write", "perf"):
            for _ in range(2):
                target = self.target(*self.endless_storage)
                with self.subTest(command=command):
                    process = self.copying(command, target, *self.endless[command])
                    target.process.send_signal(signal.SIGSTOP)
                    try:
                        if command == "perf":  # until it has seen the last answer
                            process.stderr.readline()
                            process.stderr.readline()
                        self.end(process)
                    finally:
                        target.process.send_signal(signal.SIGCONT)


class NvmfInterruptions(Interruptions, TargetTest):
    asks = ("discover", "identify")
    endless_storage = ["--namespace", "null:1TiB"]

    def test_while_it_reconnects(self):
        for command in ("read", "write", "perf"):
            with self.subTest(command=command):
                target = self.target(*self.endless_storage)
                process = self.copying(command, target, *self.endless[command], "--reconnect",
                                       "--ctrl-loss-tmo", "3600s")
                target.kill()
                while b"connection lost" not in process.stderr.readline():
                    self.assertIsNone(process.poll())
                self.end(process)


class IserInterruptions(Interruptions, IserTargetTest):
    asks = ("ls", "inq")
    endless_storage = ["--lun", "null:1TiB"]


if __name__ == "__main__":
    unittest.main()
