"""What others do to mrpool-nvmf-target while service.py measures an honest host."""
import contextlib
import time

from harness import NQN, TargetTest  # service.py has its folder in the path
from iwarp import Cut, Wire, cm_request, connect_sqe, keyed, sqe_of

HOST = "nqn.2026-11.org.mrpool:attacker"
DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"
CONNECTIONS = 40
HELPER = TargetTest()
OPTIONS = ["--namespace", "ram:16MiB", "--max-connections", CONNECTIONS]


@contextlib.contextmanager
def admitted(port, opcode, commands):
    """An I/O queue of a host that is let in, with as many reads or writes of 1 MiB on it."""
    with Wire(port, cm_request()) as admin, Wire(port, cm_request(1, 128)) as queue:
        status, controller = admin.connect(NQN, HOST)
        assert status == 0 and admin.enable()[0] == 0
        status, _ = queue.connect(NQN, HOST, 1, controller & 0xFFFF, 128)
        assert status == 0, f"{status:#x}"
        with queue.burst():
            for number in range(commands):
                queue.command(sqe_of(opcode, number, 1, keyed(0, 1 << 20, 0x99), cdw12=255))
        yield queue


def slow_answers(port):
    """(a) 1 MiB writes on every entry; one of their READs is answered every 12 s."""
    with admitted(port, 0x01, 127) as queue:
        queue.answer_slowly(12)


HELD = []


def discovery_sessions(port):
    """(c, e) Discovery controllers without keep-alive, twice as many as there are connections."""
    wire = Wire(port, cm_request())
    wire.connect(DISCOVERY, HOST + str(len(HELD)))
    HELD.append(wire)
    if len(HELD) > 2 * CONNECTIONS:
        HELD.pop(0).socket.close()


def endless_connects(port):
    """(d) 16 strangers with as many Connect commands as go in, whose data is never sent."""
    wires = {}
    while True:
        for number in range(16):
            with contextlib.suppress(Cut, OSError):
                if number not in wires:
                    wires[number] = Wire(port, cm_request(entries=1024))
                    for command in range(1023):
                        wires[number].command(
                            connect_sqe(0, 1024, keyed(0, 1024, 0x77), command_id=command))
                    wires[number].socket.settimeout(0.001)
                wires[number].receive()
                continue
            with contextlib.suppress(KeyError, TimeoutError):
                wires.pop(number).socket.close()


def empty_writes(port):
    """(h) A stranger sends RDMA WRITEs of no bytes as fast as it can."""
    with Wire(port, cm_request()) as wire:
        wire.write_nothing()


def reads_nothing(port):
    """Reads that nobody takes, of blocks that the honest host writes."""
    with admitted(port, 0x02, 64):
        time.sleep(5)


ATTACKS = [slow_answers, discovery_sessions, endless_connects, empty_writes, reads_nothing]
