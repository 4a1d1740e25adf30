"""What others do to mrpool-iser-target while service.py measures an honest initiator."""
import contextlib
import struct
import time

from attack_iser import (FINAL, KEYS, NAME, NO_TAG, NOP_OUT, READ, RESPONSE, WRITE_FLAG,
                         Initiator, text, write10)
from harness import IserTargetTest  # service.py has its folder in the path

CONNECTIONS = 40
HELPER = IserTargetTest()
OPTIONS = ["--lun", "ram:16MiB", "--lun", "ram:1MiB", "--max-connections", CONNECTIONS,
           "--state-dir", "{folder}"]
HELD = []


@contextlib.contextmanager
def admitted(port, isid=1):
    """A session on the second unit, whose unit attention is taken."""
    with Initiator(port, isid=isid) as wire:
        status = wire.login()
        assert status == 0, f"login: {status:#06x}"
        for lun in (0, 1 << 48):
            wire.command(bytes(6), lun=lun)
            wire.answer()
        yield wire


def hold(wire):
    """Keeps it open until there are twice as many as the daemon takes."""
    HELD.append(wire)
    if len(HELD) > 2 * CONNECTIONS:
        HELD.pop(0).socket.close()


def held_logins(port):
    """Logins that stop half-way, again and again."""
    wire = Initiator(port)
    wire.login_request(text(f"InitiatorName={NAME}"), 0x40 | 1 << 2)  # to be continued
    hold(wire)


def discovery_sessions(port):
    """Discovery sessions that stay."""
    wire = Initiator(port, isid=len(HELD))
    wire.login_request(text(f"InitiatorName={NAME}", "SessionType=Discovery", *KEYS))
    wire.answer()
    hold(wire)


def write_64(wire):
    """64 writes of 1 MiB to the unit of the honest initiator, beyond the blocks that it uses."""
    with wire.burst():
        for _ in range(64):
            wire.command(write10(0, 2048), 1 << 20, flags=WRITE_FLAG, write_key=0x99, lun=0)


def unanswered_reads(port):
    """The target's READs are not answered; who is dropped for it comes again."""
    with admitted(port) as wire:
        write_64(wire)
        wire.wait_cut()


def slow_answers(port):
    """One of the target's READs is answered every 12 s."""
    with admitted(port) as wire:
        write_64(wire)
        wire.answer_slowly(12)


def reads_nothing(port):
    """Reads that nobody takes, of blocks that the honest initiator writes."""
    with admitted(port) as wire:
        with wire.burst():
            for _ in range(64):
                wire.command(struct.pack(">BBIBHB", 0x28, 0, 0, 0, 2048, 0), 1 << 20, flags=READ,
                             read_key=0x99, lun=0)
        time.sleep(5)


def empty_writes(port):
    """A stranger sends RDMA WRITEs of no bytes as fast as it can."""
    with Initiator(port) as wire:
        wire.write_nothing()


def command_flood(port):
    """TEST UNIT READY and NOP-Out, 16 at once, as fast as they are answered."""
    with admitted(port) as wire:
        while True:
            with wire.burst():
                for _ in range(8):
                    wire.command(bytes(6))
                    wire.pdu(NOP_OUT, FINAL, immediate=True, at20=NO_TAG)
            for _ in range(16):
                wire.answer()


def kept_registrations(port):
    """Registrations with APTPL: each is written to the state directory and synced."""
    with admitted(port) as wire:
        while True:
            for key in (1, 2):
                wire.memory[0x55] = bytes(8) + struct.pack(">QIBBH", key, 0, 1, 0, 0)
                # REGISTER AND IGNORE EXISTING KEY
                wire.command(struct.pack(">BBBxxIx", 0x5F, 6, 0, 24), 24, flags=WRITE_FLAG,
                             write_key=0x55)
                op, bhs, _ = wire.answer()
                assert op == RESPONSE and bhs[3] == 0, (op, bhs[3])


ATTACKS = [held_logins, discovery_sessions, unanswered_reads, slow_answers, reads_nothing,
           empty_writes, command_flood, kept_registrations]
