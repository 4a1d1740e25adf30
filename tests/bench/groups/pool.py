"""The pool against what else could hold MRs (pool_bench.cc)."""
TITLE = "Pool: ns per get+put as one thread sees it"
PROGRAMS = ("pool_bench",)

# Timed as a whole: case → (threads, get+puts in one iteration).
CASES = {
    "single": (1, 1),
    "burst8": (1, 8),
    "drain256": (1, 256),
    "hand_over": (2, 1),
}
NAMES = {
    "single": "one thread",
    "burst8": "one thread, bursts of 8",
    "drain256": "one thread, drain and refill 256",
    "two_threads": "two threads on two cores",
    "hand_over": "handed from thread to thread",
    "threads4": "4 threads on 2 cores",
    "threads16": "16 threads on 2 cores",
}


def round_of(group):
    argv = group.command("pool_bench", "--benchmark_format=json",
                         "--benchmark_enable_random_interleaving=true")
    for entry in group.run(argv, timeout=300)["benchmarks"]:
        case, peer = entry["name"].split("/")[:2]
        if case == "reachable":
            group.sample(f"reachable:{peer}", entry["reachable"], "of 256", argv)
            continue
        for tail in ("p50", "p99", "p99.9", "max"):
            if tail in entry:
                group.sample(f"{case} {tail}:{peer}", entry[tail], "ns", argv)
        if case.startswith("threads"):
            continue
        if peer == "in-turns":
            for contender in ("mrpool", "mrpool-local", "two-spsc-rings"):
                group.sample(f"{case}:{contender}", entry[contender], "ns", argv)
            continue
        if case == "two_threads":
            group.sample(f"{case}:{peer}", entry["pair_ns"], "ns", argv)
            continue
        threads, pairs = CASES[case]
        # CPU time where nothing is waited for: what a neighbour's program takes away is not the
        # pool's. Google Benchmark divides the real time by iterations and threads.
        ns = entry["real_time"] * threads if threads > 1 else entry["cpu_time"]
        group.sample(f"{case}:{peer}", ns / pairs, "ns", argv)


def measure(group):
    group.in_rounds([lambda: round_of(group)])
    peers = [s.split(":", 1)[1] for s in group.series if s.startswith("single:")]
    for case, name in NAMES.items():
        floor = "two-spsc-rings" if case == "hand_over" else "thread-private"
        names = list(dict.fromkeys([floor, "mrpool", *peers]))
        if case.startswith("threads"):
            for tail in ("p50", "p99", "p99.9", "max"):
                group.panel(f"{name}, {tail} of 8 get+puts", [f"{case} {tail}:{p}" for p in names],
                            log=True)
        else:
            group.panel(name, [f"{case}:{p}" for p in names], log=True)
    group.panel("entries a fifth thread can get after four threads used 256 and idle",
                [f"reachable:{p}" for p in ["mrpool", *peers]])

    ours, local = "mrpool", "mrpool-local"
    for case, goal in (("single", 1.4), ("burst8", None), ("drain256", None), ("two_threads", 3)):
        for way, through in ((ours, ""), (local, ", through MrPool::Local")):
            group.row(f"{NAMES[case]}{through} / thread-private floor", f"{case}:{way}",
                      f"{case}:thread-private", goal)
    group.row("one thread / DPDK mempool with cache", f"single:{ours}", "single:dpdk-mempool+cache")
    group.row("one thread, through MrPool::Local / DPDK mempool with cache", f"single:{local}",
              "single:dpdk-mempool+cache")
    for peer in peers:
        if peer in ("thread-private", ours, local):
            continue
        kernel = peer == "kernel-list+fair-lock"
        group.row(f"two threads: {peer} / ours", f"two_threads:{ours}", f"two_threads:{peer}",
                  100 if kernel else None, at_most=False, invert=True)
    for way, through in ((ours, ""), (local, ", through MrPool::Local")):
        group.row(f"handed over{through} / two SPSC rings", f"hand_over:{way}",
                  "hand_over:two-spsc-rings", 1.0)
    for case in ("threads4", "threads16"):
        for tail, goal in (("p50", None), ("p99", None), ("p99.9", 1.5), ("max", None)):
            group.row(f"{NAMES[case]}, {tail} / floor", f"{case} {tail}:{ours}",
                      f"{case} {tail}:thread-private", goal if case == "threads4" else None)
    group.figure("entries reachable of 256 after 4 threads idle", f"reachable:{ours}", 256,
                 at_most=False)
    for peer in peers:
        if peer not in ("thread-private", ours, local):
            group.figure(f"  the same, {peer}", f"reachable:{peer}")
