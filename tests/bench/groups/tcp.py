"""What TCP alone does here (tcp_ceiling.cc): the ceiling of the other groups, in FACTS' shapes."""

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


def command(group, shape):
    mode, request, reply, depth = SHAPES[shape]
    argv = [mode, "--request", request, "--depth", depth, "--seconds", 0.3 if group.quick else 1]
    if mode == "reqrep":
        argv += ["--reply", reply]
    return group.command("tcp_ceiling", *argv)


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
