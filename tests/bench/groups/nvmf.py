"""NVMe-oF over uiwarp, one core each side, against bare TCP in the same shape and round.

The goal of each row is the share of bare TCP that SPDK v26.05's NVMe/TCP target and initiator
reached on such a machine: without digests for CRC off, with header and data digests for CRC on.
"""
import contextlib
import json
import os
import tempfile

from groups import tcp
from lib.daemon import Target, perf

TITLE = "NVMe-oF over uiwarp as a share of bare TCP in the same shape; goal: SPDK's share"
PROGRAMS = ("mrpool-nvmf-target", "mrpool-nvmf", "tcp_ceiling", "count_syscalls")

# name → (bare TCP's shape, options of perf, SPDK's share without and with digests)
LOADS = {
    "4 KiB read, QD1": ("4 KiB read, depth 1", ("randread", "4k", 1), 0.69, None),
    "4 KiB read, QD32": ("4 KiB read, depth 32", ("randread", "4k", 32), 0.42, 0.29),
    "4 KiB read, QD128": ("4 KiB read, depth 128", ("randread", "4k", 128), 0.41, 0.37),
    "4 KiB write, QD32": ("4 KiB write, depth 32", ("randwrite", "4k", 32), None, None),
    "4 KiB write, QD128": ("4 KiB write, depth 128", ("randwrite", "4k", 128), 0.35, None),
    "128 KiB read, QD16": ("128 KiB read, depth 16", ("read", "128k", 16), 0.77, 0.65),
    "128 KiB write, QD16": ("128 KiB write, depth 16", ("write", "128k", 16), 0.77, None),
}
NSIDS = {"RAM": 1, "null": 2, "file": 3}
DEVICES = {"CRC on": "", "CRC off": "?crc=off"}
CASES = (("CRC on", "RAM"), ("CRC off", "RAM"), ("CRC on", "null"), ("CRC on", "file"))


def sample(group, target, device, backend, load):
    rw, bs, depth = LOADS[load][1]
    job, argv = perf(group, target, NSIDS[backend], "--rw", rw, "--bs", bs, "--iodepth",
                     depth, "--time_based", "--runtime", "300ms" if group.quick else "1s", "--ramp_time", "100ms")
    way = job["read"] if "read" in rw else job["write"]
    name = f"{backend}, {device}:{load}"
    group.sample(name, way["iops"], "/s", argv)
    for tail, key in (("p50", "50.000000"), ("p99", "99.000000")):
        group.sample(f"{tail} {name}", way["clat_ns"]["percentile"][key] / 1e3, "us", argv)


def syscalls(group, folder):
    """Calls of the target's data path per I/O: a preloaded library counts them."""
    counts = os.path.join(folder, "syscalls.json")
    counter = os.path.join(group.bin, "count_syscalls.so")
    with Target(group, "ram:64MiB", options=("--spin", "20ms"),
                env={"LD_PRELOAD": counter, "COUNT_SYSCALLS": counts}) as target:
        job, argv = perf(group, target, 1, "--rw", "randread", "--bs", "4k", "--iodepth", 32,
                         "--time_based", "--runtime", "300ms" if group.quick else "1s")
    with open(counts, encoding="ascii") as file:
        counted = json.load(file)
    for call in ("receives", "sends"):
        group.sample(f"{call} per I/O", counted[call] / job["read"]["total_ios"], "", argv)


def measure(group):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="mrpool-nvmf-", dir="build/bench"))
        targets = {
            device: stack.enter_context(Target(
                group, "ram:64MiB", "null:64MiB",
                f"file:{os.path.abspath(folder)}/{device},direct,size=64MiB", device=suffix,
                # Both stay up for the whole group and only one is used at a time: an idle one must
                # not take the core from the other.
                options=("--spin", "20ms")))
            for device, suffix in DEVICES.items()}
        for target in targets.values():
            # The first touch of a virtual machine's page is the host's work, milliseconds of it.
            for backend in ("RAM", "file"):
                perf(group, target, NSIDS[backend], "--rw", "write", "--bs", "1m")
        jobs = []
        for load, (shape, *_) in LOADS.items():
            jobs.append(lambda shape=shape: tcp.sample(group, shape))
            for device, backend in CASES:
                jobs.append(lambda d=device, b=backend, l=load:
                            sample(group, targets[d], d, b, l))
        jobs.append(lambda: syscalls(group, folder))
        group.in_rounds(jobs)
    for load, (shape, _, plain, digests) in LOADS.items():
        goals = {"CRC off": plain, "CRC on": digests}
        for device, backend in CASES:
            group.row(f"{load}, {backend}, {device} / bare TCP", f"{backend}, {device}:{load}",
                      f"bare TCP:{shape}", goals[device] if backend == "RAM" else None,
                      at_most=False)
        for device in DEVICES:
            # At one depth the share of the median time is the share of the rate, but for the time
            # in which somebody else had the core: the row to look at on a shared machine.
            group.row(f"{load}, RAM, {device}, median time: bare TCP / ours",
                      f"p50 RAM, {device}:{load}", f"bare TCP us:{shape}", at_most=False,
                      invert=True)
        for tail in ("p50", "p99"):
            group.figure(f"{load}, RAM, CRC on: {tail}", f"{tail} RAM, CRC on:{load}")
        group.panel(load, [f"bare TCP:{shape}",
                           *(f"{b}, {d}:{load}" for d, b in CASES)])
    for call in ("receives", "sends"):
        group.figure(f"4 KiB read, QD32, CRC on: {call} of the target per I/O", f"{call} per I/O",
                     goal=1)
    group.notes.append("target on core 0, initiator on core 1, both polling; 4 KiB writes travel in "
                       "the capsule, 128 KiB writes are fetched by RDMA READ; file: io_uring, "
                       "O_DIRECT")
