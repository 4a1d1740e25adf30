#!/usr/bin/env python3
"""Attacks a running mrpool-iser-target, by name, while an honest initiator does verified I/O on it.

    MRPOOL_BIN=build/dev/bin tests/attack/attack_iser.py [NAME...]

What every attack has to end with: arena.py. The transport's own attacks are attack.py's.
"""
import hashlib
import pathlib
import random
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import IQN, PATIENCE, IserTargetTest  # pylint: disable=wrong-import-position
from arena import run  # pylint: disable=wrong-import-position
from iwarp import SEND, TAGGED_INVALID_STAG, WRITE, Cut, Wire  # pylint: disable=wrong-import-position

NAME = "iqn.2026-11.org.mrpool:attacker"
CHAP_IQN, USER, SECRET = IQN + "-chap", "alice", "alice has a secret"
NOP_OUT, SCSI, TASK, LOGIN, TEXT, DATA_OUT, LOGOUT = 0, 1, 2, 3, 4, 5, 6
NOP_IN, RESPONSE, TASK_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, REJECT = (
    0x20, 0x21, 0x22, 0x23, 0x24, 0x3F)
IMMEDIATE, FINAL, READ, WRITE_FLAG = 0x40, 0x80, 0x40, 0x20
NO_TAG = 0xFFFFFFFF
KEYS = ("RDMAExtensions=Yes", "InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=16384",
        "InitiatorRecvDataSegmentLength=8192", "TargetRecvDataSegmentLength=8192")


def text(*pairs):
    return b"".join(pair.encode("latin-1") + b"\0" for pair in pairs)


class Initiator(Wire):
    """One iSER connection; what it sends is up to the attack."""

    def __init__(self, port, isid=0, **more):
        super().__init__(port, bytes(4), **more)  # both sides invalidate remotely
        self.isid = isid
        self.cmd_sn = 1
        self.tag = 0

    def pdu(self, op, flags, data=b"", *, length=None, ahs=0, lun=0, tag=None, at20=0, sn=None,
            at32=bytes(16), immediate=False, write_key=None, read_key=None):
        """One PDU; `length` and `ahs` may lie about what follows."""
        if tag is None:
            self.tag += 1
            tag = self.tag
        if sn is None:
            sn = self.cmd_sn
            if not immediate and op != DATA_OUT:
                self.cmd_sn += 1
        iser = struct.pack(">B3xIQIQ", 0x10 | (8 if write_key else 0) | (4 if read_key else 0),
                           write_key or 0, 0, read_key or 0, 0)
        size = len(data) if length is None else length
        bhs = struct.pack(">BB2xI8sIIII", op | (IMMEDIATE if immediate else 0), flags,
                          ahs << 24 | size, lun.to_bytes(8, "big"), tag, at20, sn, 0)
        self.untagged(SEND, iser + bhs + at32 + data + bytes(-len(data) % 4))
        return tag

    def answer(self):
        """(opcode, BHS, data) of the next PDU of the target."""
        message = self.receive()
        bhs = message[28:76]
        size = int.from_bytes(bhs[5:8], "big")
        return bhs[0] & 0x3F, bhs, message[76:76 + size]

    def login_request(self, data, flags=0x87, tsih=0):
        self.pdu(LOGIN, flags, data, immediate=True, tag=1,
                 lun=int.from_bytes(struct.pack(">6sH", (0x80 << 40 | self.isid).to_bytes(6, "big"),
                                                tsih), "big"))

    def login(self, target=IQN, name=NAME, more=()):
        """Logs in; returns the status class and detail."""
        who = [f"InitiatorName={name}", "SessionType=Normal", f"TargetName={target}"]
        self.login_request(text(*who, *KEYS, *more))
        op, bhs, _ = self.answer()
        assert op == LOGIN_RESPONSE, hex(op)
        return bhs[36] << 8 | bhs[37]

    def prove(self, target, user, secret):
        """The security stage of a login with CHAP; returns the status class and detail."""
        bodies = [[f"InitiatorName={NAME}", "SessionType=Normal", f"TargetName={target}",
                   "AuthMethod=CHAP"], ["CHAP_A=7"]]
        for body in bodies:
            self.login_request(text(*body), 0)
            _, bhs, data = self.answer()
            if bhs[36:38] != b"\0\0":
                return bhs[36] << 8 | bhs[37]
        keys = dict(pair.split("=", 1) for pair in data.decode().split("\0") if pair)
        said = bytes([int(keys["CHAP_I"])]) + secret.encode() + bytes.fromhex(keys["CHAP_C"][2:])
        digest = hashlib.sha256(said).hexdigest()
        self.login_request(text(f"CHAP_N={user}", f"CHAP_R=0x{digest}"), 0x81)
        _, bhs, _ = self.answer()
        return bhs[36] << 8 | bhs[37]

    def command(self, cdb, expected=0, *, flags=0, data=b"", final=True, **more):
        # To the second unit: the honest initiator's data is on the first.
        more.setdefault("lun", 1 << 48)
        return self.pdu(SCSI, (FINAL if final else 0) | flags | 1, data, at20=expected,
                        at32=bytes(cdb).ljust(16, b"\0"), **more)

    def alive(self):
        """The session still answers."""
        tag = self.pdu(NOP_OUT, FINAL, immediate=True, at20=NO_TAG)
        while True:
            op, bhs, _ = self.answer()
            if op == NOP_IN and bhs[16:20] == tag.to_bytes(4, "big"):
                return True


def logged_in(port, **more):
    wire = Initiator(port, **more)
    status = wire.login()
    assert status == 0, f"login: {status:#06x}"
    return wire


def write10(lba, blocks):
    return struct.pack(">BBIBHB", 0x2A, 0, lba, 0, blocks, 0)


def rejected_and_cut(wire):
    op, _, _ = wire.answer()
    assert op == REJECT, hex(op)
    return "rejected, " + str(wire.wait_cut())


# --- before and during login -----------------------------------------------------------------------

def login_storm(port):
    for number in range(300):
        wire = logged_in(port, isid=number)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.socket.close()  # a reset
    return "300 sessions, each reset"


def reinstatement_storm(port):
    """The same initiator port again and again: each login ends the session before it."""
    last = logged_in(port, isid=7)
    for _ in range(100):
        wire = logged_in(port, isid=7)
        last.wait_cut()
        last.socket.close()
        last = wire
    with last:
        assert last.alive()
    return "100 reinstatements: one session at a time"


def bad_login_text(port):
    who = [f"InitiatorName={NAME}", "SessionType=Normal", f"TargetName={IQN}"]
    rng = random.Random(4)
    texts = {
        "nothing": b"",
        "no equals sign": text(*who, "nonsense"),
        "no terminator": text(*who) + b"RDMAExtensions=Yes",
        "empty key": text(*who, "=Yes"),
        "a key of 8000 bytes": text(*who, "X" * 8000 + "=1"),
        "a number of 40 digits": text(*who, "RDMAExtensions=Yes", "MaxBurstLength=" + "9" * 40),
        "a number below its range": text(*who, "RDMAExtensions=Yes", "FirstBurstLength=-1"),
        "no iSCSI name": text("InitiatorName=\x01", "SessionType=Normal", f"TargetName={IQN}"),
        "an unknown target": text(*who[:2], f"TargetName={IQN}-other"),
        "an unknown session type": text(who[0], "SessionType=Wild", who[2]),
        "no RDMA": text(*who, "RDMAExtensions=No"),
        "noise": rng.randbytes(4096),
    }
    # Answered with NotUnderstood or Reject, and the login goes on (RFC 7143 6.2).
    harmless = ("no terminator", "a key of 8000 bytes", "a number of 40 digits",
                "a number below its range")
    for title, data in texts.items():
        with Initiator(port) as wire:
            wire.login_request(data)
            try:
                op, bhs, _ = wire.answer()
                assert op == LOGIN_RESPONSE, f"{title}: {op:#x}"
                assert bhs[36] == 2 or not bhs[1] & FINAL or title in harmless, f"{title}: taken"
            except Cut:
                pass
    return f"{len(texts)} texts: refused, or harmless"


def bad_login_stages(port):
    body = text(f"InitiatorName={NAME}", "SessionType=Normal", f"TargetName={IQN}", *KEYS)
    for flags in (0x80 | 2 << 2 | 3, 0x80 | 1 << 2 | 2, 0x80 | 1 << 2 | 1, 0x80 | 3 << 2 | 3,
                  0xC0 | 1 << 2 | 3):
        with Initiator(port) as wire:
            wire.login_request(body, flags)
            op, bhs, _ = wire.answer()
            assert op == LOGIN_RESPONSE and bhs[36] == 2, f"flags {flags:#x}: {bhs[36:38].hex()}"
    return "stages that do not exist, go back or contradict: initiator error"


def foreign_sessions(port):
    """Joining sessions by guessing their handles."""
    body = text(f"InitiatorName={NAME}", "SessionType=Normal", f"TargetName={IQN}", *KEYS)
    for tsih in list(range(1, 40)) + [0xFFFF]:
        with Initiator(port) as wire:
            wire.login_request(body, tsih=tsih)
            _, bhs, _ = wire.answer()
            assert bhs[36:38] in (b"\x02\x06", b"\x02\x0a"), f"TSIH {tsih}: {bhs[36:38].hex()}"
    return "40 guessed session handles: refused"


def guessed_secrets(port):
    """A stranger guesses an honest initiator's secret, under its name and from many connections."""
    said = []
    start = time.monotonic()

    def stranger(secret):
        with Initiator(port, source="127.0.0.2") as wire:
            return wire.prove(CHAP_IQN, USER, secret)

    def guess_until_refused():
        said.append(stranger(f"guess number {len(said)}"))
        while said[-1] == 0x0201:
            said.append(stranger(f"guess number {len(said)}"))

    while len(said) < 30:
        guess_until_refused()
    looked_at = said.count(0x0201)
    assert said[:10] == [0x0201] * 10 and set(said) == {0x0201, 0x0301}, [hex(s) for s in said]
    # Another one comes every 10 s: a slow machine has some.
    assert looked_at <= 10 + (time.monotonic() - start) / 10, [hex(status) for status in said]
    status = stranger(SECRET)
    if status == 0:  # another guess has just come; once it is used up there is none for 10 s
        guess_until_refused()
        status = stranger(SECRET)
    assert status == 0x0301, f"the right guess after too many wrong ones: {status:#x}"
    with Initiator(port) as wire:
        status = wire.prove(CHAP_IQN, USER, SECRET)
        assert status == 0, f"the honest initiator is locked out: {status:#x}"
    return f"{len(said)} guesses: {looked_at} looked at; the honest initiator logs in"


def terminal_sequences(port):
    """Names with escape sequences and line feeds, which the daemon's log must not carry."""
    for name in ("iqn.a:\x1b[2J", "iqn.a:\nforged: a line", "iqn.a:\x9b31m", "iqn.a:\x7f"):
        for names in ({"target": name}, {"name": name}):
            with Initiator(port) as wire:
                status = wire.login(**names)
                assert status >> 8 == 2, f"{names}: {status:#x}"
    return "4 names with control characters: refused"


def command_before_login(port):
    with Initiator(port) as wire:
        wire.command(bytes(6))
        op, bhs, _ = wire.answer()
        assert op == LOGIN_RESPONSE and bhs[36:38] == b"\x02\x0b", bhs[36:38].hex()
        return "invalid during login, " + str(wire.wait_cut())


def endless_login(port):
    with Initiator(port) as wire:
        for count in range(1, 1000):
            try:
                wire.login_request(b"x" * 8000, 0x44)  # to be continued
                _, bhs, _ = wire.answer()
            except Cut:
                break
            if bhs[36] != 0:
                break
        assert count < 999, "a thousand pieces of text were taken"
        return f"text without end: refused at piece {count}"


# --- PDUs that lie -----------------------------------------------------------------------------------

def lengths_that_lie(port):
    results = set()
    for title, call in {
            "data": lambda w: w.command(write10(0, 1), 512, flags=WRITE_FLAG, length=0xFFFFFF),
            "data of a NOP": lambda w: w.pdu(NOP_OUT, FINAL, length=4096, immediate=True),
            "AHS": lambda w: w.command(bytes(6), ahs=255),
            "AHS over the data": lambda w: w.command(write10(0, 1), 512, flags=WRITE_FLAG,
                                                     data=b"x" * 512, ahs=4),
    }.items():
        with logged_in(port) as wire:
            call(wire)
            results.add(rejected_and_cut(wire))
            assert results, title
    return f"4 lengths beyond their message: {', '.join(sorted(results))}"


def short_messages(port):
    for size in (0, 1, 27, 28, 75):
        with logged_in(port) as wire:
            wire.untagged(SEND, b"\x10" + bytes(size - 1) if size else b"")
            wire.wait_cut()
    return "messages shorter than their headers: cut off"


def noise(port):
    rng = random.Random(5)
    for _ in range(100):
        with logged_in(port) as wire:
            try:
                for _ in range(20):
                    wire.untagged(SEND, b"\x10" + rng.randbytes(3) + bytes(24) + rng.randbytes(48) +
                                  rng.randbytes(rng.randrange(64)))
                wire.pdu(LOGOUT, FINAL, immediate=True)
                wire.wait_cut()
            except Cut:
                pass
    return "100 times 20 PDUs of noise"


def command_numbers(port):
    with logged_in(port) as wire:
        for number in (0, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF, 5000):
            wire.command(bytes(6), sn=number)  # outside the window: ignored
        assert wire.alive()
        wire.command(bytes(6), sn=wire.cmd_sn + 3)  # inside, but behind a gap
        return "outside the window: ignored; a gap: " + str(wire.wait_cut())


def same_tag_twice(port):
    with logged_in(port) as wire:
        wire.command(bytes(6))  # takes the unit attention
        wire.answer()
        tag = wire.command(write10(0, 16), 8192, flags=WRITE_FLAG, write_key=0x77)  # never served
        wire.command(bytes(6), tag=tag)
        op, bhs, _ = wire.answer()
        assert op == REJECT and bhs[2] == 7, (op, bhs[2])
        return "task in progress"


# --- data --------------------------------------------------------------------------------------------

def stray_data_out(port):
    with logged_in(port) as wire:
        for _ in range(100):
            wire.pdu(DATA_OUT, FINAL, b"d" * 512, tag=4711, at20=NO_TAG)
        assert wire.alive()
        wire.pdu(DATA_OUT, FINAL, b"d" * 512, tag=4711, at20=3)  # answers an R2T that was never sent
        return "of no task: dropped; of no R2T: " + rejected_and_cut(wire)


def data_out_overruns(port):
    """Unsolicited data beyond what was announced or negotiated, out of order, without end."""
    def more(wire, tag, offset, data_sn, size=512, final=False):
        wire.pdu(DATA_OUT, FINAL if final else 0, b"o" * size, tag=tag, at20=NO_TAG,
                 at32=struct.pack(">IIII", 0, data_sn, offset, 0))

    def begin(wire, length):
        return wire.command(write10(0, length // 512), length, flags=WRITE_FLAG, data=b"i" * 512,
                            final=False)

    cases = {
        "more than the command": lambda w: more(w, begin(w, 1024), 512, 0, 4096),
        "more than FirstBurstLength": lambda w: [more(w, begin(w, 65536), 512, 0, 8192),
                                                 more(w, w.tag, 8704, 1, 8192)],
        "a wrong offset": lambda w: more(w, begin(w, 8192), 4096, 0),
        "a wrong DataSN": lambda w: more(w, begin(w, 8192), 512, 1),
        "too many pieces": lambda w: [more(w, begin(w, 16384), 512, 0)] + [
            more(w, w.tag, 512 + 512 * n, n) for n in range(1, 8)],
    }
    for title, case in cases.items():
        with logged_in(port) as wire:
            case(wire)
            try:
                assert rejected_and_cut(wire), title
            except AssertionError as error:
                raise AssertionError(f"{title}: {error}") from None
    return f"{len(cases)} kinds: rejected and cut off"


def immediate_data_games(port):
    for title, call in {
            "with a read": lambda w: w.command(bytes([0x28, 0, 0, 0, 0, 0, 0, 0, 1]), 512,
                                               flags=READ, data=b"x" * 512),
            "more than expected": lambda w: w.command(write10(0, 1), 512, flags=WRITE_FLAG,
                                                      data=b"x" * 1024),
    }.items():
        with logged_in(port) as wire:
            call(wire)
            assert rejected_and_cut(wire), title
    return "with a read, more than the command expects: rejected and cut off"


def transfers_without_a_key(port):
    for cdb, flags in ((write10(0, 16), WRITE_FLAG), (bytes([0x28] + [0] * 7 + [16]), READ)):
        with logged_in(port) as wire:
            wire.command(bytes(6))
            wire.answer()
            wire.command(cdb, 8192, flags=flags)
            wire.wait_cut()
    return "write and read without a key: cut off"


def giant_transfers(port):
    with logged_in(port) as wire:
        wire.command(bytes(6))
        wire.answer()
        huge = struct.pack(">BBQIBB", 0x8A, 0, 0, 0xFFFFFFFF, 0, 0)
        past = struct.pack(">BBQIBB", 0x88, 0, 0xFFFFFFFFFFFFFFFF, 1, 0, 0)
        mode = bytes([0x55, 0x10, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0])
        for cdb, flags in ((huge, WRITE_FLAG), (past, READ), (mode, WRITE_FLAG)):
            wire.command(cdb, 0xFFFFFFFF, flags=flags, write_key=1 if flags == WRITE_FLAG else None,
                         read_key=1 if flags == READ else None)
            if cdb is mode:
                break  # the target may fetch a parameter list of 64 KiB
            op, bhs, _ = wire.answer()
            assert op == RESPONSE and bhs[3] == 2, (op, bhs[3])
        return "4 GiB and wrapping LBAs: check condition"


def guessed_stags(port):
    rng = random.Random(6)
    for _ in range(50):
        with logged_in(port) as wire:
            wire.tagged(WRITE, rng.getrandbits(32), rng.getrandbits(48), b"x" * 64)
            assert wire.wait_cut().code == TAGGED_INVALID_STAG
    return "50 WRITEs to guessed STags: each terminated"


def learnt_stag(port):
    """The target's READ shows a live STag; it is written again afterwards."""
    with logged_in(port) as wire:
        wire.command(bytes(6))
        wire.answer()
        wire.memory[0x77] = b"w" * 8192
        wire.command(write10(1000, 16), 8192, flags=WRITE_FLAG, write_key=0x77)
        op, bhs, _ = wire.answer()
        assert op == RESPONSE and bhs[3] == 0, (op, bhs[3])
        sink, offset, _, _ = wire.reads[0]
        wire.tagged(WRITE, sink, offset, b"y" * 64)
        how = wire.wait_cut()
        assert how.code == TAGGED_INVALID_STAG, how
        return "stale STag: " + str(how)


# --- floods and silence --------------------------------------------------------------------------------

def abort_storm(port):
    with logged_in(port) as wire:
        start = time.monotonic()
        for number in range(2000):
            wire.pdu(TASK, FINAL | 1, immediate=True, at20=number + 100000)
            op, bhs, _ = wire.answer()
            assert op == TASK_RESPONSE and bhs[2] == 1, (op, bhs[2])
        return f"2000 aborts of nothing answered in {time.monotonic() - start:.1f} s"


def reset_storm(port):
    """Resets of a unit that nobody else uses: others would rightly be disturbed."""
    with logged_in(port) as wire:
        for _ in range(300):
            wire.pdu(TASK, FINAL | 5, immediate=True, lun=1 << 48, at20=NO_TAG)
            op, bhs, _ = wire.answer()
            assert op == TASK_RESPONSE and bhs[2] == 0, (op, bhs[2])
        return "300 unit resets answered"


def never_reads_answers(port):
    with logged_in(port) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.socket.settimeout(PATIENCE)
        try:
            for _ in range(20000):
                wire.pdu(NOP_OUT, FINAL, b"p" * 4096, immediate=True, at20=NO_TAG)
        except Cut:
            return "echoes nobody takes: cut off"
        raise AssertionError("20000 echoes of 4 KiB were taken in")


def silence(port):
    """Logins that stop half-way and READs that are never answered, side by side: both have a limit."""
    start = time.monotonic()
    halves = [Initiator(port) for _ in range(50)]
    misers = [logged_in(port, isid=100 + n) for n in range(2)]
    for wire in misers:
        wire.command(bytes(6))
        wire.answer()
        for _ in range(40):  # together far more than the staging memory
            wire.command(write10(0, 2048), 1 << 20, flags=WRITE_FLAG, write_key=0x77)
    for wire in halves + misers:
        wire.socket.settimeout(PATIENCE)
        wire.wait_cut()
        wire.socket.close()
    return f"50 half logins, 80 MiB of READs without answer: all ended in {time.monotonic() - start:.0f} s"


def crowd(port):
    """More connections than the daemon was told to take: who has not logged in makes room."""
    wires = []
    try:
        while len(wires) < 200:
            wires.append(Initiator(port))
            assert not wires[-1].rejected, f"connection {len(wires)} was refused"
        for wire in wires[:100]:
            wire.wait_cut()
        with Initiator(port) as another:
            assert another.login() == 0
        return "200 connections, the oldest ended for the next; another logs in"
    finally:
        for wire in wires:
            wire.socket.close()


ATTACKS = [login_storm, reinstatement_storm, bad_login_text, bad_login_stages, foreign_sessions,
           guessed_secrets, terminal_sequences,
           command_before_login, endless_login, lengths_that_lie, short_messages, noise,
           command_numbers, same_tag_twice, stray_data_out, data_out_overruns, immediate_data_games,
           transfers_without_a_key, giant_transfers, guessed_stags, learnt_stag, abort_storm,
           reset_storm, never_reads_answers, crowd, silence]


if __name__ == "__main__":
    run(ATTACKS, IserTargetTest(),
        ["--lun", "ram:16MiB", "--lun", "ram:1MiB", "--target", CHAP_IQN, "--lun", "ram:1MiB",
         "--chap", f"{USER}:{SECRET}", "--no-initial-r2t", "--max-connections", "60"],
        sys.argv[1:], 128 << 20)
