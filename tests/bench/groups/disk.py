"""A file namespace against fio doing the same to the same file, both with io_uring and O_DIRECT."""
import os
import tempfile

from groups import tcp
from lib.daemon import Target, perf

TITLE = "Disk: a file through the target (io_uring, O_DIRECT) / fio on the file itself"
PROGRAMS = ("mrpool-nvmf-target", "mrpool-nvmf", "tcp_ceiling")

# Where the machine's TCP alone is slower than its disk, that is the ceiling.
TCP_SHAPES = {
    "4 KiB random read, QD32": "4 KiB read, depth 32",
    "4 KiB random write, QD32": "4 KiB write, depth 32",
    "128 KiB read, QD16": "128 KiB read, depth 16",
    "128 KiB write, QD16": "128 KiB write, depth 16",
}
LOADS = {
    "4 KiB random read, QD1": ("randread", "4k", 1),
    "4 KiB random read, QD32": ("randread", "4k", 32),
    "4 KiB random write, QD32": ("randwrite", "4k", 32),
    "128 KiB read, QD16": ("read", "128k", 16),
    "128 KiB write, QD16": ("write", "128k", 16),
}
SIZE = 256 << 20


def direct(path, load, seconds, group):
    rw, bs, depth = LOADS[load]
    argv = ["fio", "--name=direct", f"--filename={path}", "--direct=1", "--ioengine=io_uring",
            f"--rw={rw}", f"--bs={bs}", f"--iodepth={depth}", f"--size={SIZE}", "--time_based",
            f"--runtime={seconds}", "--norandommap", "--output-format=json"]
    record(group, "fio", load, group.run(argv)["jobs"][0], argv)


def record(group, who, load, job, argv):
    way = job["read"] if "read" in LOADS[load][0] else job["write"]
    group.sample(f"{who}:{load}", way["iops"], "/s", argv)
    group.sample(f"{who} latency:{load}", way["clat_ns"]["mean"], "ns", argv)


def through_target(group, target, load, seconds):
    rw, bs, depth = LOADS[load]
    job, argv = perf(group, target, 1, "--rw", rw, "--bs", bs, "--iodepth", depth, "--time_based", "--runtime",
                     f"{seconds}s")
    record(group, "ours", load, job, argv)


def measure(group):
    seconds = 1  # fio takes whole ones
    with tempfile.TemporaryDirectory(prefix="mrpool-disk-", dir="build/bench") as folder:
        path = os.path.join(os.path.abspath(folder), "disk")
        group.run(["fio", "--name=fill", f"--filename={path}", "--rw=write", "--bs=1m",
                   f"--size={SIZE}", "--end_fsync=1", "--output-format=json"])
        with Target(group, f"file:{path},direct", options=("--spin", "20ms")) as target:
            jobs = []
            for load in LOADS:
                jobs.append(lambda l=load: direct(path, l, seconds, group))
                if load in TCP_SHAPES:
                    jobs.append(lambda l=load: tcp.sample(group, TCP_SHAPES[l]))
                jobs.append(lambda l=load: through_target(group, target, l, seconds))
            group.in_rounds(jobs)
    for load in LOADS:
        group.row(f"{load}: IOPS / fio", f"ours:{load}", f"fio:{load}", at_most=False)
        if load in TCP_SHAPES:
            group.row(f"{load}: bare TCP alone / fio", f"bare TCP:{TCP_SHAPES[load]}",
                      f"fio:{load}", at_most=False)
        ours, fio = f"ours latency:{load}", f"fio latency:{load}"
        added = f"added:{load}"
        for mine, theirs in zip(group.series[ours]["samples"], group.series[fio]["samples"]):
            group.sample(added, mine - theirs, "ns")
        group.figure(f"{load}: mean latency added", added)
        group.panel(load, [f"fio:{load}", f"ours:{load}"])
