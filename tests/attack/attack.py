#!/usr/bin/env python3
"""Attacks a running mrpool-nvmf-target, by name, while an honest host does verified I/O on it.

    MRPOOL_BIN=build/dev/bin tests/attack/attack.py [NAME...]

What every attack has to end with: arena.py. A Terminate has the code the RFCs name.
"""
import pathlib
import random
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import NQN, PATIENCE, TargetTest, connections, until  # pylint: disable=wrong-import-position
from arena import run  # pylint: disable=wrong-import-position
from iwarp import (MPA_CRC, READ_ACCESS, READ_INVALID_STAG, READ_RESPONSE, SEND,
                   TAGGED_BOUNDS, TAGGED_INVALID_STAG, TAGGED_OFFSET_WRAP,
                   UNTAGGED_NO_BUFFER, UNTAGGED_TOO_LONG, WRITE, Cut, Wire, cm_request,
                   connect_data, connect_sqe, keyed, mpa_request, sqe_of)

HOST = "nqn.2026-11.org.mrpool:attacker"
INVALID_PARAMETERS, SEQUENCE_ERROR, ID_CONFLICT, ABORT_LIMIT = 0x182, 0x00C, 0x003, 0x103


def admin(port):
    """An attacker that is let in: admin queue connected and enabled."""
    wire = Wire(port, cm_request())
    status, result = wire.connect(NQN, HOST)
    assert status == 0, f"connect: status {status:#x}"
    assert wire.enable()[0] == 0
    return wire, result & 0xFFFF


def cut(wire, *codes):
    """Waits for the end, which has to say one of these codes; without any it may say nothing."""
    how = wire.wait_cut()
    assert not codes or how.code in codes, f"{how}, not {codes}"
    return str(how)


def live_stag(wire):
    """Has the target fetch Connect data, and does not answer: its READ names a live STag."""
    wire.command(connect_sqe(0, sgl=keyed(0, 1024, 0x77)))
    wire.receive(until_read=True)
    sink, offset, size, _ = wire.reads[0]
    return sink, offset, size


def guessed_stags(port):
    rng = random.Random(1)
    for _ in range(50):
        with Wire(port, cm_request()) as wire:
            wire.tagged(WRITE, rng.getrandbits(32), rng.getrandbits(48), b"x" * 64)
            cut(wire, TAGGED_INVALID_STAG)
    return "50 WRITEs to guessed STags: each terminated"


def guessed_reads(port):
    rng = random.Random(2)
    for _ in range(50):
        with Wire(port, cm_request()) as wire:
            wire.read_request(rng.getrandbits(32), 0, 4096)
            cut(wire, READ_INVALID_STAG)
    return "50 READs of guessed STags: each terminated"


def learnt_stag(port):
    """Fetching Connect data shows a live STag of the target; it is written again afterwards."""
    with Wire(port, cm_request()) as wire:
        wire.memory[0x77] = connect_data(NQN, HOST)
        status, _ = wire.execute(connect_sqe(0, sgl=keyed(0, 1024, 0x77)))
        assert status == 0, f"connect: {status:#x}"
        sink, offset, _, _ = wire.reads[0]
        wire.tagged(WRITE, sink, offset, b"y" * 64)
        return "stale STag: " + cut(wire, TAGGED_INVALID_STAG)


def past_the_end(port):
    """Answers a READ with more than was asked for."""
    with Wire(port, cm_request()) as wire:
        sink, offset, size = live_stag(wire)
        wire.tagged(READ_RESPONSE, sink, offset, b"z" * (size + 64))
        return "READ response past the end: " + cut(wire, TAGGED_BOUNDS)


def write_past_the_end(port):
    """A live STag, written across its end."""
    with Wire(port, cm_request()) as wire:
        sink, offset, size = live_stag(wire)
        wire.tagged(WRITE, sink, offset + size - 32, b"z" * 64)
        return "WRITE past the end: " + cut(wire, TAGGED_BOUNDS)


def reads_a_sink(port):
    """A live STag is for writing into; nothing may be read by it, inside or past the end."""
    for at, length in ((0, 64), (0, 1 << 20), (1 << 20, 64)):
        with Wire(port, cm_request()) as wire:
            sink, offset, _ = live_stag(wire)
            wire.read_request(sink, offset + at, length)
            cut(wire, READ_ACCESS)
    return "READs by the STag of a sink, inside and past its end: each terminated"


def another_connections_key(port):
    """A live key of another connection is answered as one that does not exist."""
    with Wire(port, cm_request()) as first, Wire(port, cm_request()) as second:
        sink, offset, _ = live_stag(first)  # waiting for first's answer
        second.tagged(WRITE, sink, offset, b"w" * 64)
        return "another connection's live key: " + cut(second, TAGGED_INVALID_STAG)


def wrap_around(port):
    for offset in (2**64 - 1, 2**64 - 64, 2**63):
        with Wire(port, cm_request()) as wire:
            sink, _, _ = live_stag(wire)
            wire.tagged(WRITE, sink, offset, b"v" * 128)
            cut(wire, TAGGED_OFFSET_WRAP, TAGGED_BOUNDS)
    return "offsets at the end of the numbers: each terminated"


def too_many_reads(port):
    with Wire(port, cm_request()) as wire:
        try:
            for _ in range(1000):
                wire.read_request(0x1234, 0, 0x7FFFFFFF)
        except Cut:
            pass
        return "1000 READ requests: " + cut(wire)


def slow_loris(port):
    wires = [Wire(port) for _ in range(100)]
    try:
        for wire in wires:
            wire.raw(b"MPA ID")
        start = time.monotonic()
        for wire in wires:
            wire.socket.settimeout(PATIENCE)
            wire.wait_cut()
        return f"100 half set-ups: all closed after {time.monotonic() - start:.0f} s"
    finally:
        for wire in wires:
            wire.socket.close()


def half_open_flood(port):
    wires = [Wire(port) for _ in range(300)]
    with Wire(port, cm_request()) as wire:
        assert not wire.rejected
    for wire in wires:
        wire.socket.close()
    return "300 silent connections: another is served meanwhile"


def never_connects(port):
    with Wire(port, cm_request()) as wire:
        wire.socket.settimeout(PATIENCE)
        return "no Connect command: " + cut(wire)


def giant_private_data(port):
    with Wire(port) as wire:
        wire.raw(mpa_request(b"p" * 4096, length=0xFFFF))
        return "64 KiB of private data: " + cut(wire)


def oversize_capsule(port):
    wire, _ = admin(port)
    with wire:
        wire.command(bytes(64), b"o" * 32768)
        return "32 KiB capsule: " + cut(wire, UNTAGGED_TOO_LONG)


def short_capsule(port):
    wire, _ = admin(port)
    with wire:
        wire.untagged(SEND, b"s" * 8)
        return "8-byte capsule: " + cut(wire)


def bad_crc(port):
    wire, _ = admin(port)
    with wire:
        wire.untagged(SEND, bytes(64), spoil=1)
        return "wrong CRC: " + cut(wire, MPA_CRC)


def garbage(port):
    rng = random.Random(3)
    for _ in range(30):
        with Wire(port, cm_request()) as wire:
            try:
                wire.raw(rng.randbytes(4096))
            except Cut:
                pass
            wire.wait_cut()
    return "30 times 4 KiB of noise: each cut off"


def queue_overrun(port):
    """More commands than the queue has entries, without looking at the answers."""
    wire, _ = admin(port)
    with wire:
        with wire.burst():  # in pieces, a fast target would have answered before the next one
            for number in range(200):
                wire.command(sqe_of(0x0C, 1000 + number))  # parked, or refused at once
        return "200 commands on 32 entries: " + cut(wire, UNTAGGED_NO_BUFFER)


def connect_twice(port):
    """A second Connect command while the data of the first is still being fetched."""
    with Wire(port, cm_request()) as wire:
        wire.memory[0x77] = connect_data(NQN, HOST)
        wire.command(connect_sqe(0, sgl=keyed(0, 1024, 0x77), command_id=1))
        wire.command(connect_sqe(0, command_id=2), connect_data(NQN, HOST))
        statuses = sorted(struct.unpack("<QHHHH", wire.receive())[4] >> 1 & 0x7FF
                          for _ in range(2))
        assert statuses == [0, SEQUENCE_ERROR], statuses
    return "the second is out of sequence"


def queue_id_games(port):
    for queue_id in (129, 0xFFFF):
        with Wire(port, cm_request(queue_id)) as wire:
            assert wire.rejected and wire.private[2] == 3, wire.private
    with Wire(port, cm_request(1)) as wire:
        assert wire.connect(NQN, HOST, queue_id=2, controller=1)[0] == INVALID_PARAMETERS
    with Wire(port, cm_request(1)) as wire:
        assert wire.execute(sqe_of(2, 5, 1))[0] == SEQUENCE_ERROR
    wire, controller = admin(port)
    with wire, Wire(port, cm_request(1)) as first, Wire(port, cm_request(1)) as second:
        assert first.connect(NQN, HOST, 1, controller)[0] == 0
        assert second.connect(NQN, HOST, 1, controller)[0] == SEQUENCE_ERROR
    return "queue ids out of range, other than announced, taken: each refused"


def foreign_controller(port):
    wire, controller = admin(port)
    with wire:
        for victim in range(1, controller + 3):
            with Wire(port, cm_request(1)) as thief:
                status, _ = thief.connect(NQN, HOST + "-thief", 1, victim)
                assert status == INVALID_PARAMETERS, f"controller {victim}: {status:#x}"
    return f"controllers 1..{controller + 2}: Connect Invalid Parameters"


def command_id_reuse(port):
    wire, _ = admin(port)
    with wire:
        wire.command(sqe_of(0x0C, 40))  # an Asynchronous Event Request is parked
        assert wire.execute(sqe_of(0x18, 40))[0] == ID_CONFLICT
    return "Command ID Conflict"


def abort_storm(port):
    wire, _ = admin(port)
    with wire:
        start = time.monotonic()
        for number in range(2000):
            status, _ = wire.execute(sqe_of(0x08, number % 60000, cdw10=0 | 77 << 16))
            assert status in (0, ABORT_LIMIT)
        return f"2000 aborts answered in {time.monotonic() - start:.1f} s"


def connect_storm(port):
    for _ in range(300):
        wire, _ = admin(port)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.socket.close()  # a reset
    return "300 associations, each reset"


def stops_reading(port):
    """Reads 24 MiB and takes nothing of it: more than the sockets hold, so the target has it."""
    wire, controller = admin(port)
    with wire, Wire(port, cm_request(1)) as reader:
        assert reader.connect(NQN, HOST, 1, controller)[0] == 0
        with reader.burst():  # the honest host's writes wait: a slow machine is cut off at the first
            for number in range(24):
                reader.command(sqe_of(0x02, number, 1, keyed(0, 1 << 20, 0x99), cdw12=255))
        start = time.monotonic()
        peer = reader.socket.getsockname()[1]
        until(lambda: connections(port, peer) == 0, lambda: "who reads nothing is kept for ever")
        return f"24 MiB that nobody takes: ended after {time.monotonic() - start:.0f} s"


ATTACKS = [guessed_stags, guessed_reads, learnt_stag, past_the_end, write_past_the_end,
           reads_a_sink, another_connections_key, wrap_around, too_many_reads, slow_loris,
           half_open_flood, never_connects, giant_private_data, oversize_capsule, short_capsule,
           bad_crc, garbage, queue_overrun, connect_twice, queue_id_games, foreign_controller,
           command_id_reuse, abort_storm, connect_storm, stops_reading]


class Witness:
    """Sees by the daemon's SMART log that the honest host's commands are completed."""

    def __init__(self, port):
        self.wire, _ = admin(port)
        self.seen = self._count()

    def _count(self):
        smart = self.wire.read_log(0x02, 512)
        reads, writes = (int.from_bytes(smart[at:at + 16], "little") for at in (64, 80))
        return reads + writes

    def more(self):
        """How many more there are; waits for the next one when there is none."""
        deadline = time.monotonic() + PATIENCE
        before = self.seen
        while (now := self._count()) == before:
            assert time.monotonic() < deadline, "the honest host's I/O has stopped"
            time.sleep(0.01)
        self.seen = now
        return now - before

    def close(self):
        self.wire.socket.close()


if __name__ == "__main__":
    run(ATTACKS, TargetTest(), ["--namespace", "ram:16MiB"], sys.argv[1:], 64 << 20, Witness)
