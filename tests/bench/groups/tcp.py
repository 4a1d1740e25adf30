"""What TCP alone does here (tcp_ceiling.cc): the ceiling of the other groups, in FACTS' shapes."""

import statistics

TITLE = "Bare TCP on loopback, one core each side, polling"
PROGRAMS = ("tcp_ceiling",)

SHAPES = {
    "ping-pong 1 B": ("reqrep", 1, 1, 1),
    "ping-pong 64 B": ("reqrep", 64, 64, 1),
    "ping-pong 4 KiB": ("reqrep", 4096, 4096, 1),
    "4 KiB read, depth 1": ("reqrep", 72, 4120, 1),
    "4 KiB read, depth 32": ("reqrep", 72, 4120, 32),
    "4 KiB read, depth 128": ("reqrep", 72, 4120, 128),
    "4 KiB write, depth 32": ("reqrep", 4168, 24, 32),
    "4 KiB write, depth 128": ("reqrep", 4168, 24, 128),
    "64 KiB read, depth 16": ("reqrep", 72, 65536, 16),
    "128 KiB read, depth 16": ("reqrep", 72, 131072, 16),
    "128 KiB write, depth 16": ("reqrep", 131144, 24, 16),
    "1 MiB read, depth 4": ("reqrep", 72, 1 << 20, 4),
    "64 B stream": ("stream", 64, 0, 64),
    "stream of 64 KiB": ("stream", 65536, 0, 16),
    "stream of 128 KiB": ("stream", 131072, 0, 16),
    "stream of 1 MiB": ("stream", 1 << 20, 0, 4),
}


# Bulk depends on how much one system call moves: KiB of a send, of a receive. The best one is the peer.
CALLS = ((512, 512), (512, 64), (256, 256), (128, 128), (64, 64), (1024, 1024))
BULK = 64 << 10
TRIES = 3
_best = {}  # shape → a pair of CALLS


def plain(group, shape, calls, seconds):
    mode, request, reply, depth = SHAPES[shape]
    argv = [mode, "--request", request, "--depth", depth, "--seconds", seconds,
            "--send", calls[0] << 10, "--receive", calls[1] << 10]
    if mode == "reqrep":
        argv += ["--reply", reply]
    return group.command("tcp_ceiling", *argv)


def best(group, shape):
    """The pair of CALLS that was fastest in this shape, tried once in a run of tests/bench/run."""
    if max(SHAPES[shape][1:3]) < BULK:
        return CALLS[0]
    if shape not in _best:
        rates = {calls: [] for calls in CALLS}
        for _ in range(TRIES):
            for calls, found in rates.items():
                found.append(group.run(plain(group, shape, calls, 0.1))["per_second"])
        _best[shape] = max(CALLS, key=lambda calls: statistics.median(rates[calls]))
    send, receive = _best[shape]
    note = f"bare TCP, {shape}: at most {send} KiB a send and {receive} KiB a receive were best"
    if note not in group.notes:
        group.notes.append(note)
    return _best[shape]


def command(group, shape):
    return plain(group, shape, best(group, shape), 0.3 if group.quick else 1)


def sample(group, shape):
    """One bare-TCP figure of `shape`, as series "bare TCP:SHAPE" (operations a second); "bare TCP us:SHAPE"
    is the median latency."""
    argv = command(group, shape)
    result = group.run(argv)
    group.sample(f"bare TCP:{shape}", result["per_second"], "/s", argv)
    if "mean_us" in result:
        group.sample(f"bare TCP us:{shape}", result["p50_us"], "us", argv)
    return result


def measure(group):
    group.in_rounds([lambda shape=shape: sample(group, shape) for shape in SHAPES])
    for shape in SHAPES:
        group.figure(f"{shape}: operations", f"bare TCP:{shape}")
        if f"bare TCP us:{shape}" in group.series:
            group.figure(f"{shape}: median latency", f"bare TCP us:{shape}")
    group.panel("operations per second", [f"bare TCP:{s}" for s in SHAPES], log=True)
