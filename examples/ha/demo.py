#!/usr/bin/env python3
"""Several gateways in front of one Ceph cluster, all on this machine: one is killed every few seconds
while a verified load goes on. examples/demo ha builds the programs and runs this.

Shows the owner of each ANA group, the I/O of each gateway, and at the end the longest pause of the load.
"""
import argparse
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cluster import Cluster, missing  # noqa: E402

BIN = pathlib.Path(os.environ["MRPOOL_BIN"])
NQN = "nqn.2026-11.org.mrpool:demo"
PERIOD = 0.5  # seconds between two pictures


class Gateway:
    """A daemon of the group. It keeps its port and its range of controller ids when it is started again."""

    def __init__(self, folder, cluster, name, number, disks):
        self.name = name
        self.log = folder / f"{name}.log"
        self.socket = folder / f"{name}.sock"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"uiwarp://127.0.0.1:{free.getsockname()[1]}"
        ids = 1 + 1000 * number
        self.command = [BIN / "mrpool-nvmf-target", "--listen", self.address, "--subnqn", NQN,
                        "--gateway-group", f"rbd:rbd/gateways,conf={cluster.conf}",
                        "--gateway-name", name, "--gateway-rejoin", "3s",
                        "--control", self.socket,
                        "--min-cntlid", ids, "--max-cntlid", ids + 999]
        for group, disk in enumerate(disks, 1):
            self.command += ["--namespace",
                             f"rbd:{disk},conf={cluster.conf},nsid={group},anagrpid={group}"]
        self.process = None
        self.count = 0   # commands that it had executed at the last look
        self.rate = 0.0  # a second, since the look before
        self.state = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in self.command], stdout=log,
                                            stderr=subprocess.STDOUT)
        self.count = 0

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.state = None

    def call(self, method):
        done = subprocess.run([BIN / "mrpool-ctl", "call", method, "--socket", self.socket],
                              capture_output=True, timeout=10, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def look(self, seconds):
        """Asks the daemon for its groups and its I/O."""
        self.state = self.call("mrpool_gateway_get_group") if self.runs() else None
        statistics = self.call("nvmf_get_stats") if self.state else None
        count = sum(group["completed_nvme_io"] for group in statistics["poll_groups"]) if statistics else 0
        self.rate = max(count - self.count, 0) / seconds
        self.count = count

    def owned(self):
        """The groups that it serves."""
        groups = self.state["groups"] if self.state else []
        return [group["group"] for group in groups if group["state"] == "serving"]

    def line(self):
        if not self.runs():
            return f"  {self.name}  killed"
        groups = " ".join(f"group {group}" for group in self.owned()) or "no group"
        return f"  {self.name}  {groups:24} {self.rate:8.0f} commands/s"


def until(true, seconds, what):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"demo: FAILED: {what}")
        time.sleep(0.1)


def show(lines, height):
    """In a terminal the new picture takes the place of the last one. Returns the height of the picture."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\x1b[{height}F\x1b[J" if height else "")
        print("\n".join(lines), flush=True)
        return len(lines)
    print("; ".join(" ".join(line.split()) for line in lines), flush=True)
    return 0


def load(gateways, group, seconds):
    """A verified load on one namespace, by all gateways."""
    first, *others = [gateway.address for gateway in gateways]
    paths = [word for other in others for word in ("--path", other)]
    return subprocess.Popen([BIN / "mrpool-nvmf", "perf", first, *paths, "--subnqn", NQN,
                             "--nsid", str(group), "--rw", "randrw", "--bs", "4k", "--iodepth", "8",
                             "--rate_iops", "500", "--verify", "crc32c", "--time_based", "--runtime",
                             str(seconds), "--output-format", "json", "--group_reporting",
                             "--reconnect", "--eta", "never"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(gateways, loads, args):
    """Kills the gateways in turn while the loads run. Returns how often."""
    began = time.monotonic()
    kill_at, start_at, victim, kills, height = began + args.every, None, -1, 0, 0
    while any(process.poll() is None for process in loads):
        now = time.monotonic()
        last = now > began + args.seconds - args.every
        if start_at and now >= start_at:
            gateways[victim].start()
            start_at = None
        if now >= kill_at and not last:
            victim = max(range(len(gateways)), key=lambda i: (len(gateways[i].owned()), -i))
            gateways[victim].kill()
            kills += 1
            start_at, kill_at = now + args.every / 2, now + args.every
        for gateway in gateways:
            gateway.look(PERIOD)
        head = f"{now - began:5.1f} s, {kills} killed"
        height = show([head, *(gateway.line() for gateway in gateways)], height)
        time.sleep(PERIOD)
    if start_at:
        gateways[victim].start()
    return kills


def result(process, group):
    """The longest pause of a load, in seconds."""
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"demo: FAILED: the load of group {group} ended with "
                         f"{process.returncode}:\n{err.decode()}")
    job = json.loads(out)["jobs"][0]
    if job["error"]:
        raise SystemExit(f"demo: FAILED: the load of group {group}: error {job['error']}")
    return max(job[way]["clat_ns"]["max"] for way in ("read", "write")) / 1e9


def main():
    parser = argparse.ArgumentParser(prog="examples/demo ha", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40, help="length of the load (default 40)")
    parser.add_argument("--gateways", type=int, default=3, choices=range(2, 9), metavar="N",
                        help="2 to 8 (default 3)")
    parser.add_argument("--every", type=float, default=10, metavar="SECONDS",
                        help="time between two kills (default 10)")
    args = parser.parse_args()
    if missing():
        raise SystemExit(f"demo: {', '.join(missing())} missing; .ci/install ceph installs them")
    with tempfile.TemporaryDirectory(prefix="mrpool-demo-") as work:
        folder = pathlib.Path(work)
        print("== a Ceph cluster of one monitor and one OSD", flush=True)
        with Cluster(folder / "cluster") as cluster:
            serve(folder, cluster, args)


def serve(folder, cluster, args):
    disks = [f"rbd/disk{number + 1}" for number in range(args.gateways)]
    for disk in disks:
        cluster.rbd("create", disk, "--size", "64M")
    gateways = [Gateway(folder, cluster, chr(ord("a") + number), number, disks)
                for number in range(args.gateways)]
    try:
        print(f"== {args.gateways} gateways, an image and an ANA group for each", flush=True)
        for gateway in gateways:
            gateway.start()

        def balanced():
            for gateway in gateways:
                gateway.look(PERIOD)
            return all(len(gateway.owned()) == 1 for gateway in gateways)

        until(balanced, 60, "the groups are not divided among the gateways after 60 s")
        print(f"== verified loads for {args.seconds} s; a gateway is killed every {args.every:g} s",
              flush=True)
        loads = [load(gateways, group, args.seconds) for group in range(1, args.gateways + 1)]
        kills = run(gateways, loads, args)
        pauses = [result(process, group) for group, process in enumerate(loads, 1)]
        for gateway in gateways:
            if gateway.runs():
                gateway.process.send_signal(signal.SIGTERM)
        for gateway in gateways:
            if gateway.process.wait(timeout=30):
                raise SystemExit(f"demo: FAILED: gateway {gateway.name}:\n{gateway.log.read_text()[-2000:]}")
        print(f"\ndemo: OK, {kills} gateways killed, zero errors, zero verification errors; "
              f"the longest pause of a command was {max(pauses):.1f} s")
    finally:
        for gateway in gateways:
            if gateway.runs():
                gateway.kill()


if __name__ == "__main__":
    main()
