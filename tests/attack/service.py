#!/usr/bin/env python3
"""Measures what an honest host gets of a target daemon while others attack it: its throughput as a
share of the undisturbed one, its longest stall, and how much of the daemon's CPU time is its.

    MRPOOL_BIN=build/release/bin tests/attack/service.py [--seconds N] [--rounds N] nvmf|iser [NAME...]

For each attack, rounds of an undisturbed and an attacked run alternate on one daemon; the medians
are printed. The attackers run at the lowest priority, since they share the machine. By hand, not in
CI: the figures are the machine's. The goals (docs/operate/sharing.md): a half beside an admitted host, nine
tenths beside strangers, no stall longer than a second.

"daemon" is the honest host's part of the daemon's CPU time: what its commands cost undisturbed, over
what the daemon used beside the attack. It does not depend on who else uses the machine's processors.
`sink` is a control: what `empty_writes` sends, sent to a process that only reads it.
"""
import argparse
import contextlib
import importlib
import multiprocessing
import os
import pathlib
import socket
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from iwarp import Cut, Wire  # pylint: disable=wrong-import-position


def drain(listener):
    connection, _ = listener.accept()
    buffer = bytearray(1 << 20)
    while connection.recv_into(buffer):
        pass


def sink(_):
    """The bytes of empty_writes, which do not reach the daemon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        multiprocessing.Process(target=drain, args=(listener,), daemon=True).start()
        with Wire(listener.getsockname()[1]) as wire:
            wire.write_nothing()


def run_attack(attack, port):
    os.nice(19)
    while True:
        with contextlib.suppress(Cut, OSError, AssertionError):
            attack(port)


def cpu_time(pid):
    """Of the process, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Run:
    """The honest host's figures of one run."""

    def __init__(self, helper, target, seconds):
        before = cpu_time(target.process.pid)
        job, _ = helper.perf(target, "--rw", "randrw", "--bs", "16k", "--iodepth", "16",
                             "--time_based", "--runtime", seconds)
        self.cpu = cpu_time(target.process.pid) - before
        self.iops = sum(job[way]["iops"] for way in ("read", "write"))
        self.commands = sum(job[way]["total_ios"] for way in ("read", "write"))
        self.stall = max(job[way]["lat_ns"]["max"] for way in ("read", "write")) / 1e9


def compare(protocol, attack, options):
    """Prints the attack's row."""
    alone, attacked = [], []
    with tempfile.TemporaryDirectory(prefix="mrpool-") as folder:
        target = protocol.HELPER.target_class(
            folder, *(str(option).format(folder=folder) for option in protocol.OPTIONS))
        try:
            for _ in range(options.rounds):
                alone.append(Run(protocol.HELPER, target, options.seconds))
                attacker = multiprocessing.Process(target=run_attack, args=(attack, target.port))
                attacker.start()
                try:
                    time.sleep(1)
                    attacked.append(Run(protocol.HELPER, target, options.seconds))
                finally:
                    attacker.terminate()
                    attacker.join()
        finally:
            target.kill()
    base, beside = (statistics.median(run.iops for run in runs) for runs in (alone, attacked))
    cost = sum(run.cpu for run in alone) / sum(run.commands for run in alone)
    share = cost * sum(run.commands for run in attacked) / sum(run.cpu for run in attacked)
    print(f"{attack.__name__:20} {base:9.0f} {beside:9.0f} {beside / base:6.2f} "
          f"{max(run.stall for run in attacked):12.3f} s {share:7.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("protocol", choices=["nvmf", "iser"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of attacks; none: all")
    options = parser.parse_args()
    protocol = importlib.import_module(f"service_{options.protocol}")
    attacks = [*protocol.ATTACKS, sink]
    unknown = set(options.names) - {attack.__name__ for attack in attacks}
    if unknown:
        parser.error(f"{unknown}: no such attack; there are {[a.__name__ for a in attacks]}")
    print(f"{'attack':20} {'alone':>9} {'attacked':>9} {'share':>6} {'longest stall':>14} {'daemon':>7}")
    for attack in attacks:
        if not options.names or attack.__name__ in options.names:
            compare(protocol, attack, options)


if __name__ == "__main__":
    main()
