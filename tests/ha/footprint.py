#!/usr/bin/env python3
"""What a gateway needs: memory, threads and the time to start, by images and ANA groups. By hand:

    MRPOOL_BIN=$PWD/build/release/bin tests/ha/footprint.py [--images 1,10,50] [--groups 1,4,8]

Starts a cluster on this machine, and for each pair one daemon that serves the images as one of a group of
gateways. Prints a table in Markdown. Memory is resident memory of the process (VmRSS), idle.
"""
import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples/ha"))
from cluster import Cluster  # noqa: E402

BIN = pathlib.Path(os.environ["MRPOOL_BIN"])


def numbers(text):
    return [int(word) for word in text.split(",")]


def status_of(process):
    """VmRSS in MiB, and the number of threads."""
    lines = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(values["VmRSS"].split()[0]) / 1024, int(values["Threads"])


def measure(folder, cluster, images, groups):
    log = folder / "daemon.log"
    command = [BIN / "mrpool-nvmf-target", "--listen", "uiwarp://127.0.0.1:0", "--subnqn",
               "nqn.2026-11.org.mrpool:disks", "--gateway-name", "a",
               "--gateway-group", f"rbd:rbd/records.{images}.{groups},conf={cluster.conf}"]
    for number in range(1, images + 1):
        command += ["--namespace", f"rbd:rbd/disk{number},conf={cluster.conf},nsid={number},"
                                   f"anagrpid={number % groups + 1}"]
    began = time.monotonic()
    with open(log, "wb") as out:
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out)
    try:
        while b"listening" not in log.read_bytes():
            if process.poll() is not None:
                raise SystemExit(f"footprint: the daemon ended:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.01)
        started = time.monotonic() - began
        time.sleep(10)  # it takes its groups
        return *status_of(process), started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=numbers, default=[1, 10, 50])
    parser.add_argument("--groups", type=numbers, default=[1, 4, 8])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mrpool-footprint-") as work:
        folder = pathlib.Path(work)
        with Cluster(folder / "cluster") as cluster:
            for number in range(1, max(args.images) + 1):
                cluster.rbd("create", f"rbd/disk{number}", "--size", "64M")
            print("| images | ANA groups | memory | threads | time until it listens |")
            print("| --- | --- | --- | --- | --- |")
            for images in args.images:
                for groups in args.groups:
                    if groups > images:
                        continue
                    memory, threads, started = measure(folder, cluster, images, groups)
                    print(f"| {images} | {groups} | {memory:.0f} MiB | {threads} | {started:.1f} s |",
                          flush=True)


if __name__ == "__main__":
    main()
