#!/usr/bin/env python3
"""Kills clients and the target under load, and counts what is left.

    tests/integration/target_faults.py [--clients N] [--targets N] [--seed S]

Clients die by SIGKILL at random moments of a mixed load while an honest one verifies every block;
afterwards the daemon's descriptors and memory are where they were and no MR is in use. Then the
target itself is killed and restarted on the same file under a host that reconnects: all that was
acknowledged must read back. Figures and the seed are printed. tests/soak does the same for longer,
with these functions.
"""
import argparse
import os
import pathlib
import random
import tempfile
import time

from harness import NQN, PATIENCE, Target, TargetTest


def resident(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


LOADS = [("randrw", "4k", 32), ("randwrite", "128k", 16), ("randread", "1m", 8),
         ("randwrite", "512k", 32), ("randrw", "8k", 128)]


def start_victim(helper, target, rng, nsid="2"):
    rw, bs, depth = rng.choice(LOADS)
    return helper.start("perf", target, "--subnqn", NQN, "--nsid", nsid, "--rw", rw, "--bs", bs,
                        "--iodepth", depth, "--runtime", "60", "--eta", "never")


def kill_some(helper, target, rng, count):
    for _ in range(count):
        victim = start_victim(helper, target, rng)
        time.sleep(rng.uniform(0.02, 0.25))
        victim.kill()
        victim.communicate()


def kill_clients(helper, folder, rng, cycles):
    """Returns the figures."""
    target = Target(folder, "--namespace", "ram:64MiB", "--namespace", "ram:64MiB")
    try:
        # Memory that appears when touched is touched first: both namespaces, staging, queues.
        for nsid in ("1", "2"):
            helper.perf(target, "--nsid", nsid, "--rw", "write", "--bs", "1m", "--iodepth", "64")
        kill_some(helper, target, rng, min(cycles // 2, 50))
        time.sleep(0.5)
        pid = target.process.pid
        before, open_before = resident(pid), descriptors(pid)
        honest = helper.start("perf", target, "--subnqn", NQN, "--nsid", "1", "--rw", "randrw",
                              "--bs", "4k", "--iodepth", "8", "--runtime", "600", "--verify",
                              "crc32c", "--rate_iops", "1000", "--output-format", "json",
                              "--group_reporting", "--eta", "never")
        kill_some(helper, target, rng, cycles)
        honest.send_signal(2)
        out, err = honest.communicate(timeout=PATIENCE)
        assert honest.returncode in (0, 130), err.decode()
        job, own = helper.job_of(out)
        helper.assert_verified(job, own)
        time.sleep(1)  # a look-around of the daemon's timer
        after, open_after = resident(pid), descriptors(pid)
        figures = {"clients_killed": cycles, "blocks_verified": job["verified"],
                   "resident_kib_before": before >> 10, "resident_kib_after": after >> 10,
                   "descriptors_before": open_before, "descriptors_after": open_after}
        print(figures, flush=True)
        helper.assertEqual(open_after, open_before)
        helper.assertLess(after - before, 16 << 20)
        helper.assertEqual(target.stop(), 0, target.output())
        helper.assertRegex(target.output(), "MRs in use: 0 ")
        helper.assertRegex(target.output(), "staging buffers in use: 0")
        return figures
    finally:
        target.kill()


def kill_targets(helper, folder, rng, cycles):
    """Returns the figures."""
    disk = pathlib.Path(folder) / "disk"
    spec = f"file:{disk},size=32MiB"
    target = Target(folder, "--namespace", spec)
    port = target.port
    try:
        host = helper.start("perf", target, "--subnqn", NQN, "--rw", "randrw", "--bs", "4k",
                            "--iodepth", "16", "--runtime", "600", "--verify", "crc32c",
                            "--reconnect", "--reconnect-delay", "100ms", "--output-format", "json",
                            "--group_reporting", "--eta", "never")
        for _ in range(cycles):
            time.sleep(rng.uniform(0.3, 1.0))
            target.kill()
            target = Target(folder, "--namespace", f"file:{disk}", port=port)
        time.sleep(1)
        host.send_signal(2)
        out, err = host.communicate(timeout=PATIENCE)
        assert host.returncode in (0, 130), err.decode()
        job, own = helper.job_of(out)
        helper.assert_verified(job, own)
        figures = {"targets_killed": cycles, "blocks_verified": job["verified"],
                   "reconnects": own["reconnects"], "resubmitted": own["resubmitted"]}
        print(figures, flush=True)
        helper.assertEqual(target.stop(), 0, target.output())
        return figures
    finally:
        target.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--targets", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    helper = TargetTest()
    with tempfile.TemporaryDirectory(prefix="mrpool-") as folder:
        kill_clients(helper, folder, rng, options.clients)
        kill_targets(helper, folder, rng, options.targets)


if __name__ == "__main__":
    main()
