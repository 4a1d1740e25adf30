"""Limits of the rate: what a host gets next to the limit that is set, what an honest host keeps
next to one that floods the same store, and how long a host without limits waits beside a flood.

The honest host keeps 32 writes of 4 KiB under way, the flood 128 of 64 KiB in 4 jobs. Without a
limit, the honest host's share is what the target's thread and the machine leave it. The neighbour
reads 4 KiB of another store, one at a time.
"""
import json
import subprocess

from lib.daemon import NQN, Target, perf

TITLE = "Limits: the measured rate and the share of an honest host beside a flood"
PROGRAMS = ("mrpool-nvmf-target", "mrpool-nvmf")
MIB = 1 << 20

# name → (nsid, options of the storage, options of perf, what is limited, the limit a second)
LIMITS = {
    "1000 IOPS": (1, "rw_ios_per_sec=1000", ("randread", "4k", 16), "iops", 1000),
    "20000 IOPS": (2, "rw_ios_per_sec=20000", ("randread", "4k", 32), "iops", 20_000),
    "50 MiB/s of reads": (3, "r_mbytes_per_sec=50", ("randread", "64k", 16), "bw", 50 * MIB),
    "100 MiB/s of writes": (4, "w_mbytes_per_sec=100", ("randwrite", "128k", 16), "bw", 100 * MIB),
}
# name → (nsid, options of the storage): what the two hosts share.
SHARED = {
    "100 MiB/s": (5, "rw_mbytes_per_sec=100"),
    "5000 IOPS": (6, "rw_ios_per_sec=5000"),
    "no limit": (7, ""),
}
# name → (nsid, options of the storage): what the flood writes to while the neighbour reads.
FLOODED = {
    "a flood held to 100 MiB/s": (8, "w_mbytes_per_sec=100"),
    "a flood without a limit": (7, ""),
}
NEIGHBOUR = 9


def rate(job, rw, kind):
    way = job["read"] if "read" in rw else job["write"]
    # bw is in KiB a second.
    return way["iops"] if kind == "iops" else way["bw"] * 1024


def alone(group, target, name):
    nsid, _, (rw, bs, depth), kind, limit = LIMITS[name]
    job, argv = perf(group, target, nsid, "--rw", rw, "--bs", bs, "--iodepth", depth,
                     "--time_based", "--runtime", "1s" if group.quick else "3s", "--ramp_time",
                     "500ms", spin=False)
    group.sample(f"measured:{name}", rate(job, rw, kind), "/s", argv)
    group.sample(f"limit:{name}", limit, "/s")


def flood_of(group, target, nsid, seconds):
    """The command of a host that floods a store."""
    return group.command("mrpool-nvmf", "perf", target.address, "--subnqn", NQN, "--nsid", nsid,
                         "--rw", "randwrite", "--bs", "64k", "--iodepth", 32, "--numjobs", 4,
                         "--host-nqn", "nqn.2026-11.org.mrpool:flood", "--group_reporting",
                         "--output-format", "json", "--eta", "never", "--time_based", "--runtime",
                         f"{seconds}s")


def beside(group, target, name):
    nsid = SHARED[name][0]
    seconds = 2 if group.quick else 4
    flood = flood_of(group, target, nsid, seconds + 2)
    with subprocess.Popen(["taskset", "-c", "1", *flood], stdout=subprocess.PIPE, text=True) as other:
        job, argv = perf(group, target, nsid, "--rw", "randwrite", "--bs", "4k", "--iodepth", 32,
                         "--time_based", "--runtime", f"{seconds}s", "--ramp_time", "1s", spin=False)
        output, _ = other.communicate(timeout=120)
    flooded = json.loads(output)["jobs"][0]["write"]
    kind = "iops" if "IOPS" in name else "bw"
    honest = rate(job, "randwrite", kind)
    group.sample(f"honest:{name}", honest, "/s", argv)
    group.sample(f"flood:{name}", rate({"write": flooded}, "randwrite", kind), "/s", flood)
    if name != "no limit":
        limit = 5000 if kind == "iops" else 100 * MIB
        group.sample(f"half:{name}", limit / 2, "/s")
    else:
        group.sample(f"all:{name}", honest + rate({"write": flooded}, "randwrite", kind), "/s")


def neighbour(group, target, name):
    """The latency of a host without limits, alone (None) or beside a flood of another store."""
    seconds = 1 if group.quick else 3
    flood = [] if name is None else ["taskset", "-c", "1",
                                     *flood_of(group, target, FLOODED[name][0], seconds + 2)]
    with subprocess.Popen(flood or ["true"], stdout=subprocess.DEVNULL) as other:
        job, argv = perf(group, target, NEIGHBOUR, "--rw", "randread", "--bs", "4k", "--iodepth", 1,
                         "--time_based", "--runtime", f"{seconds}s", "--ramp_time", "1s", spin=False)
        other.wait(timeout=120)
    percentiles = job["read"]["clat_ns"]["percentile"]
    for percent in (50, 99):
        group.sample(f"neighbour p{percent}:{name or 'alone'}", percentiles[f"{percent:.6f}"], "ns",
                     argv)


def measure(group):
    stores = dict(store[:2] for store in (*LIMITS.values(), *SHARED.values(), *FLOODED.values(),
                                          (NEIGHBOUR, "")))
    storage = [f"null:64MiB,nsid={nsid}" + (f",{options}" if options else "")
               for nsid, options in stores.items()]
    with Target(group, *storage, options=()) as target:
        jobs = [lambda n=name: alone(group, target, n) for name in LIMITS]
        jobs += [lambda n=name: beside(group, target, n) for name in SHARED]
        jobs += [lambda n=name: neighbour(group, target, n) for name in (None, *FLOODED)]
        group.in_rounds(jobs)
    for name in LIMITS:
        # Two rows: not above the limit, and not below it by more than 5 %.
        group.row(f"{name}: measured / limit", f"measured:{name}", f"limit:{name}", 1.05)
        group.row(f"{name}: measured / limit, at least", f"measured:{name}", f"limit:{name}", 0.95,
                  at_most=False)
        group.panel(name, [f"limit:{name}", f"measured:{name}"])
    for name in SHARED:
        if name == "no limit":
            group.row("no limit: honest host / both", f"honest:{name}", f"all:{name}", at_most=False)
        else:
            group.row(f"{name} shared: honest host / half of the limit", f"honest:{name}",
                      f"half:{name}", 0.9, at_most=False)
        group.panel(f"{name}, shared", [f"honest:{name}", f"flood:{name}"])
    for percent in (50, 99):
        for name in FLOODED:
            group.row(f"neighbour beside {name}: p{percent} / alone",
                      f"neighbour p{percent}:{name}", f"neighbour p{percent}:alone")
        group.panel(f"neighbour, p{percent}",
                    [f"neighbour p{percent}:{name}" for name in ("alone", *FLOODED)])
    group.notes.append("one thread of the target on core 0, hosts on core 1; null stores; the honest "
                       "host writes 4 KiB at depth 32, the flood 64 KiB at depth 128, the neighbour "
                       "reads 4 KiB at depth 1")
