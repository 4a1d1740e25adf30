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


class Mistakes:
    """The same mistake is the caller's, and in the same words, whatever the command and protocol."""

    def mistake(self, said, command, *options, data=None):
        with self.subTest(command=command, options=options):
            _, err = self.run_host(command, self.one, *self.name, *options, data=data, expect=2)
            self.assertEqual(err, f"{self.host_program}: {said}\n")

    def test_ranges(self):
        self.one = self.target(*self.blocks_of_4k)
        for command in ("read", "write", "perf"):
            data = {"write": bytes(4096)}.get(command)
            for offset in (1 << 20, 1 << 21):
                self.mistake(f"--offset {offset} is not before the end, which is at 1048576", command,
                             "--offset", offset, data=data)
            self.mistake("--offset + --size ends 4096 bytes after the end, which is at 1048576",
                         command, "--offset", "1020k", "--size", "8k", data=data)
            self.mistake("--offset 5 is not a multiple of the block size 4096", command, "--offset",
                         "5", data=data)
            self.mistake("--size: '0' is not a size of at least 1", command,
                         "--size", "0", data=data)
        room = "the input does not fit: there is room for 4096 bytes from --offset 1044480"
        self.mistake(room, "write", "--offset", "1020k", data=bytes(8192))
        self.mistake(f"{room}, and it has 8192", "write", "--offset", "1020k", "--input",
                     self.file("input", 8192))
        out, _ = self.run_host("read", self.one, *self.name, "--offset", "1016k", "--size", "4k")
        self.assertEqual(out, bytes(4096), "nothing is written before that is known")

    def test_lengths_are_bytes(self):
        target = self.target(*self.blocks_of_4k)
        self.run_host("write", target, *self.name, data=b"o" * (1 << 20))
        for offset, size in ((0, 1), (8192, 4097), (1 << 19, (1 << 18) + 5)):
            new = b"n" * size
            options = [*self.name, "--offset", offset]
            self.run_host("write", target, *options, data=new)
            self.run_host("write", target, *options, "--size", size, data=new + b"more")
            out, _ = self.run_host("read", target, *options, "--size", size)
            self.assertEqual(out, new)
            out, _ = self.run_host("read", target, *options, "--size", size + 1000)
            self.assertEqual(out, new + b"o" * 1000, "the rest of the block stays as it was")


class Descriptors:
    """With few file descriptors every program works, or says that they are missing and what to do."""

    def test_initiators(self):
        target = self.target(*self.storage)
        for command, *options in ((self.asks[1],), ("read", "--output", "/dev/null"),
                                  ("perf", "--size", "8k", "--eta", "never")):
            with self.subTest(command=command):
                statuses = set()
                for limit in range(5, 20):
                    process = self.limited(self.host_program, command, target.address, *self.name,
                                           *options, limit=limit)
                    said = process.communicate(timeout=PATIENCE)[0].decode()
                    statuses.add(process.returncode)
                    if process.returncode != 0:
                        self.assertEqual(process.returncode, 3, said)
                        self.check_names_descriptors(said, limit)
                self.assertEqual(statuses, {0, 3})

    def test_daemons(self):
        disk = self.file("disk", 1 << 20)
        program, *served = self.target_class.program
        ended = 0
        for limit in range(5, 16):
            process = self.limited(program, "--listen", "uiwarp://127.0.0.1:0", *served,
                                   self.storage[0], f"file:{disk}", limit=limit)
            said = ""
            for line in process.stdout:
                said += line.decode()
                if b"listening on" in line:
                    process.terminate()
                    break
            said += process.communicate(timeout=PATIENCE)[0].decode()
            if process.returncode == 1:
                self.check_names_descriptors(said, limit)
                ended += 1
            else:
                self.assertEqual(process.returncode, 0, said)
        self.assertGreater(ended, 0)


class NvmfDescriptors(Descriptors, TargetTest):
    asks = NvmfInterruptions.asks


class IserDescriptors(Descriptors, IserTargetTest):
    asks = IserInterruptions.asks


class NvmfMistakes(Mistakes, TargetTest):
    blocks_of_4k = ["--namespace", "ram:1MiB,bs=4096"]

    def test_more_than_the_target_grants(self):
        self.one = self.target(*self.blocks_of_4k)
        self.mistake("--numjobs 1024: the target grants a host 128 I/O queues; ask for --numjobs 128 "
                     "at most", "perf", "--numjobs", "1024", "--bs", "64k")
        mrs = 1024 * 1023 + 31
        self.mistake(f"--iodepth 1023 and --numjobs 1024 need {mrs} memory regions, and uiwarp has "
                     "131072; ask for less of either", "perf", "--iodepth", "1023", "--numjobs",
                     "1024")


class IserMistakes(Mistakes, IserTargetTest):
    blocks_of_4k = ["--lun", "ram:1MiB,bs=4096"]


if __name__ == "__main__":
    unittest.main()
