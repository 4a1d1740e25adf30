"""Connections at constant load, memory of each, idle CPU, and one reactor against two."""
import json
import resource
import subprocess
import threading
import time

from lib.daemon import NQN, Target, perf

TITLE = "Scale: 128 reads of 4 KiB under way over 1 to 10,000 connections; one thread each side"
PROGRAMS = ("mrpool-nvmf-target", "mrpool-nvmf", "nvmf_scale", "tcp_ceiling")
CONNECTIONS = (1, 10, 100, 1000)
MANY = 10_000  # of these only where the rounds are long enough, and the limit of descriptors admits them
DESCRIPTORS = MANY + 500


def counts(group):
    return CONNECTIONS if group.quick or not descriptors() else (*CONNECTIONS, MANY)


def descriptors():
    """Raises the limit of descriptors of the programs that are started, if it must be and can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= DESCRIPTORS:
        return True
    if hard < DESCRIPTORS:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    return True


def scale(group, target, connections, *options):
    """Starts nvmf_scale and waits until its connections are open."""
    argv = group.command("nvmf_scale", target.address, "--subnqn", NQN, "--connections",
                         connections, *options)
    process = subprocess.Popen(["taskset", "-c", "1", *argv], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    if not process.stdout.readline():
        process.kill()
        raise RuntimeError(f"nvmf_scale: {process.communicate()[1][-2000:]}")
    return process, argv


def finish(process):
    # Not communicate(): it would pass over what readline() has read ahead.
    late = threading.Timer(120, process.kill)
    late.start()
    out, err = process.stdout.read(), process.stderr.read()
    late.cancel()
    if process.wait() != 0:
        raise RuntimeError(f"nvmf_scale: {err[-2000:]}")
    return out


def bare_tcp(group, connections):
    """As many bytes, requests under way and connections, without anything on top of TCP."""
    argv = group.command("tcp_ceiling", "reqrep", "--request", 72, "--reply", 4120, "--depth", 128,
                         "--connections", connections, "--seconds", 0.3 if group.quick else 1)
    result = group.run(argv)
    group.sample(f"bare TCP:{connections}", result["per_second"], "/s", argv)
    group.sample(f"bare TCP p99:{connections}", result["p99_us"] * 1e3, "ns", argv)


def load(group, connections):
    # A target of its own each time: memory must not be what an earlier run left behind.
    with Target(group, "ram:64MiB", options=("--spin", "forever", "--max-connections",
                                              DESCRIPTORS)) as target:
        before = target.resident()
        process, argv = scale(group, target, connections, "--seconds",
                              "300ms" if group.quick else "1s")
        opened = target.resident()
        result = json.loads(finish(process))
        group.sample(f"IOPS:{connections}", result["iops"], "/s", argv)
        group.sample(f"p99:{connections}", result["p99_ns"], "ns", argv)
        if connections > 1:
            group.sample(f"memory:{connections}", (opened - before) / connections, "B", argv)


HOSTS = 4000  # each with an admin queue and an I/O queue


def hosts(group):
    """As many hosts as one daemon takes by default, less some."""
    with Target(group, "ram:64MiB", options=("--spin", "forever", "--max-connections",
                                              DESCRIPTORS)) as target:
        before, began = target.resident(), time.monotonic()
        process, argv = scale(group, target, HOSTS, "--queues-per-host", 1, "--seconds", "1s")
        group.sample("hosts: time to connect", (time.monotonic() - began) / HOSTS * 1e9, "ns", argv)
        group.sample("hosts: memory", (target.resident() - before) / HOSTS, "B", argv)
        group.sample("hosts: IOPS", json.loads(finish(process))["iops"], "/s", argv)


# What the user chooses with --spin: how long a reactor polls before it sleeps.
SPINS = {"as installed": (), "polling forever": ("--spin", "forever")}


def idle(group, spin):
    """CPU of a target with 1,000 connections that ask for nothing."""
    with Target(group, "ram:64MiB",
                options=(*SPINS[spin], "--max-connections", "4096")) as target:
        seconds = 1 if group.quick else 3
        process, argv = scale(group, target, 1000, "--idle", f"{seconds + 1}s")
        time.sleep(0.5)
        before = target.cpu_seconds()
        time.sleep(seconds)
        group.sample(f"idle CPU, {spin}", 100 * (target.cpu_seconds() - before) / seconds, "%", argv)
        finish(process)


def reactors(group, threads):
    with Target(group, "ram:64MiB", cores="0,1",
                options=("--spin", "50us", "--threads", threads)) as target:
        job, argv = perf(group, target, 1, "--rw", "randread", "--bs", "4k", "--iodepth", 32,
                         "--numjobs", 2, "--time_based", "--runtime", "300ms" if group.quick else "1s",
                         core="0,1", spin=False)
        group.sample(f"reactors:{threads}", job["read"]["iops"], "/s", argv)


def measure(group):
    all_counts = counts(group)
    jobs = []
    for n in all_counts:
        jobs += [lambda n=n: bare_tcp(group, n), lambda n=n: load(group, n)]
    group.in_rounds([*jobs, *(lambda s=s: idle(group, s) for s in SPINS),
                     lambda: reactors(group, 1), lambda: reactors(group, 2),
                     *([] if MANY not in all_counts else [lambda: hosts(group)])])
    for n in all_counts:
        group.row(f"{n} connections: IOPS / bare TCP with as many", f"IOPS:{n}", f"bare TCP:{n}",
                  at_most=False)
        group.row(f"{n} connections: p99 / bare TCP with as many", f"p99:{n}",
                  f"bare TCP p99:{n}")
    for n in all_counts[1:]:
        group.row(f"{n} connections / one, IOPS", f"IOPS:{n}", "IOPS:1", at_most=False)
        group.figure(f"memory of the target per connection, of {n}", f"memory:{n}")
    for spin in SPINS:
        group.figure(f"CPU of the target with 1,000 idle connections, {spin}, % of a core",
                     f"idle CPU, {spin}")
    group.row("two reactors / one, all of it on two cores", "reactors:2", "reactors:1",
              at_most=False)
    for n in all_counts[1:]:
        group.row(f"bare TCP alone: {n} connections / one", f"bare TCP:{n}", "bare TCP:1",
                  at_most=False)
    if MANY in all_counts:
        group.row(f"{HOSTS} hosts of one I/O connection / one host, IOPS", "hosts: IOPS", "IOPS:1",
                  at_most=False)
        group.figure(f"memory of the target per host, of {HOSTS}", "hosts: memory")
        group.figure(f"time until a host is connected, of {HOSTS} in turn", "hosts: time to connect")
    group.panel("IOPS by connections", [s for n in all_counts for s in (f"bare TCP:{n}", f"IOPS:{n}")])
    group.panel("p99 by connections", [f"p99:{n}" for n in all_counts])
    group.notes.append("memory is resident memory of the process, its I/O connections' share of "
                       "admin connections included; the kernel's socket buffers are not in it")
