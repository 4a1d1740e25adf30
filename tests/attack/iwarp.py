"""Just enough iWARP and NVMe-oF to break their rules: bytes by hand over a TCP socket."""
import contextlib
import socket
import struct
import time

from harness import PATIENCE  # the attacks have its folder in their path

_TABLE = []
for _n in range(256):
    for _ in range(8):
        _n = (_n >> 1) ^ (0x82F63B78 if _n & 1 else 0)
    _TABLE.append(_n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


WRITE, READ_REQUEST, READ_RESPONSE, SEND, SEND_INV, SEND_SE, SEND_SE_INV, TERMINATE = range(8)


def cm_request(queue_id=0, entries=32, record_format=0):
    return struct.pack("<HHHH", record_format, queue_id, entries, entries - 1) + bytes(24)


def mpa_request(private, length=None):
    body = struct.pack(">HH", 16, 16) + private
    # CRC wanted, enhanced set-up, revision 2.
    return b"MPA ID Req Frame" + struct.pack(
        ">BBH", 0x50, 2, len(body) if length is None else length) + body


# What a Terminate says: (layer, error type, error code), RFC 5040 4.8, 5041 7.2, 5044 8.
READ_INVALID_STAG, READ_BOUNDS, READ_ACCESS = (0, 1, 0), (0, 1, 1), (0, 1, 2)
TAGGED_INVALID_STAG, TAGGED_BOUNDS = (1, 1, 0), (1, 1, 1)
TAGGED_OFFSET_WRAP = (1, 1, 3)
UNTAGGED_NO_BUFFER, UNTAGGED_MSN_RANGE, UNTAGGED_TOO_LONG = (1, 2, 2), (1, 2, 3), (1, 2, 5)
MPA_CRC = (2, 0, 2)


class Cut(Exception):
    """The target ended the connection; `code` is what its Terminate said, None without one."""

    def __init__(self, code):
        super().__init__("cut off, " + (f"Terminate {code[0]}/{code[1]}/{code[2]}" if code
                                        else "no Terminate"))
        self.code = code


class Wire:
    """One connection to the target."""

    def __init__(self, port, private=None, timeout=PATIENCE, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.msn = {0: 0, 1: 0}
        self.held = None  # inside burst(): what has not been sent yet
        self.reads = []  # READ requests of the target: (sink stag, offset, length, source stag)
        self.memory = {}  # what the target may read: source stag -> bytes
        self.terminated = None  # the code of its Terminate
        self.written = {}  # what it wrote to us: stag -> {offset: bytes}
        if private is not None:
            self.socket.sendall(mpa_request(private))
            head = self._exactly(20)
            if not head.startswith(b"MPA ID Rep Frame"):
                raise AssertionError(f"no MPA reply: {head!r}")
            flags, _, length = struct.unpack(">BBH", head[16:])
            self.private = self._exactly(length)[4:]
            self.rejected = bool(flags & 0x20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionError:
                more = b""
            if not more:
                raise Cut(self.terminated)
            data += more
        return data

    @contextlib.contextmanager
    def burst(self):
        """What is sent inside goes out together, at the end."""
        self.held = bytearray()
        yield
        data, self.held = self.held, None
        self.raw(data)

    def raw(self, data):
        if self.held is not None:
            self.held += data
            return
        try:
            self.socket.sendall(data)
        except ConnectionError:
            raise Cut(self.terminated) from None

    def fpdu(self, ulpdu, spoil=0):
        body = struct.pack(">H", len(ulpdu)) + ulpdu
        body += bytes(-len(body) % 4)
        self.raw(body + struct.pack("<I", crc32c(body) ^ spoil))

    def untagged(self, kind, payload, queue=0, invalidate=0, spoil=0):
        self.msn[queue] += 1
        self.fpdu(struct.pack(">BBIIII", 0x41, 0x40 | kind, invalidate, queue, self.msn[queue], 0)
                  + payload, spoil)

    def tagged(self, kind, stag, offset, payload, last=True):
        self.fpdu(struct.pack(">BBIQ", 0xC1 if last else 0x81, 0x40 | kind, stag, offset) + payload)

    def read_request(self, stag, offset, length):
        self.untagged(READ_REQUEST, struct.pack(">IQIIQ", 1, 0, length, stag, offset), queue=1)

    def receive(self, until_read=False):
        """The next SEND of the target; its READ requests are served from `memory`. With until_read
        it returns at the first of those."""
        while True:
            length, = struct.unpack(">H", self._exactly(2))
            rest = self._exactly(length + (-(length + 2) % 4) + 4)
            ulpdu = rest[:length]
            kind = ulpdu[1] & 0x0F
            if kind == TERMINATE:
                self.terminated = (ulpdu[18] >> 4, ulpdu[18] & 0x0F, ulpdu[19])
            elif kind == WRITE:
                stag, offset = struct.unpack(">IQ", ulpdu[2:14])
                self.written.setdefault(stag, {})[offset] = ulpdu[14:]
            elif kind == READ_REQUEST:
                sink, at, size, source, _ = struct.unpack(">IQIIQ", ulpdu[18:46])
                self.reads.append((sink, at, size, source))
                if source in self.memory:
                    self.tagged(READ_RESPONSE, sink, at, self.memory[source][:size])
                if until_read:
                    return None
            elif kind in (SEND, SEND_INV, SEND_SE, SEND_SE_INV):
                return ulpdu[18:]

    def wait_cut(self):
        """Reads until the target ends the connection; the Cut says how."""
        try:
            while True:
                self.receive()
        except Cut as cut:
            return cut

    def answer_slowly(self, seconds):
        """Answers each READ of the target with zeroes, and that late."""
        while True:
            self.receive(until_read=True)
            sink, at, size, _ = self.reads.pop(0)
            time.sleep(seconds)
            self.tagged(READ_RESPONSE, sink, at, bytes(size))

    def write_nothing(self):
        """RDMA WRITEs of no bytes, as fast as it goes."""
        with self.burst():
            self.tagged(WRITE, 0, 0, b"")
            flood = self.held * 4000
            self.held = bytearray()
        self.socket.settimeout(None)
        while True:
            self.raw(flood)

    # NVMe.

    def command(self, sqe, behind=b""):
        self.untagged(SEND, sqe + behind)

    def execute(self, sqe, behind=b""):
        """Returns (status code with type, result) of the answer to this command."""
        self.command(sqe, behind)
        want, = struct.unpack("<H", sqe[2:4])
        while True:
            cqe = self.receive()
            result, _, _, got, status = struct.unpack("<QHHHH", cqe)
            if got == want:
                return (status >> 1) & 0x7FF, result

    def read_log(self, log, length):
        """Get Log Page, through RDMA."""
        self.written.pop(0x66, None)
        dwords = length // 4 - 1
        status, _ = self.execute(sqe_of(0x02, 9, 0xFFFFFFFF, keyed(0, length, 0x66),
                                        cdw10=log | dwords << 16))
        if status != 0:
            raise AssertionError(f"log page {log}: status {status:#x}")
        return b"".join(part for _, part in sorted(self.written[0x66].items()))

    def connect(self, subnqn, hostnqn, queue_id=0, controller=0xFFFF, entries=32):
        return self.execute(connect_sqe(queue_id, entries),
                            connect_data(subnqn, hostnqn, controller))

    def enable(self):
        # Property Set of CC: enable, 64-byte SQEs, 16-byte CQEs.
        sqe = bytearray(sqe_of(0x7F, 0))
        sqe[44:48] = struct.pack("<I", 0x14)
        sqe[48:56] = struct.pack("<Q", 1 | 6 << 16 | 4 << 20)
        return self.execute(bytes(sqe))


def sqe_of(opcode, command_id, nsid=0, sgl=bytes(16), cdw10=0, cdw11=0, cdw12=0):
    head = struct.pack("<BBHI", opcode, 0x40, command_id, nsid) + bytes(16)
    return head + sgl + struct.pack("<III", cdw10, cdw11, cdw12) + bytes(12)


def in_capsule(length):
    return struct.pack("<QI", 0, length) + bytes([0, 0, 0, 0x01])


def keyed(address, length, key):
    return struct.pack("<Q", address) + length.to_bytes(3, "little") + struct.pack("<IB", key, 0x40)


def connect_sqe(queue_id, entries=32, sgl=in_capsule(1024), command_id=0):
    sqe = bytearray(sqe_of(0x7F, command_id, sgl=sgl))
    sqe[4] = 1
    sqe[40:48] = struct.pack("<HHHBB", 0, queue_id, entries - 1, 0, 0)
    return bytes(sqe)


def connect_data(subnqn, hostnqn, controller=0xFFFF):
    return (bytes([9] * 16) + struct.pack("<H", controller) + bytes(238) +
            subnqn.encode().ljust(256, b"\0") + hostnqn.encode().ljust(256, b"\0") + bytes(256))
