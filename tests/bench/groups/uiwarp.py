"""uiwarp against the TCP under it, in the same shapes (uiwarp_bench.cc, tcp_ceiling.cc)."""
from groups import tcp

TITLE = "uiwarp against bare TCP: one core each side, polling"
PROGRAMS = ("uiwarp_bench", "tcp_ceiling")

# Name → (uiwarp_bench's arguments, bare TCP's shape in the same direction).
CASES = {
    "round trip 64 B": (("rtt", "--size", 64), "ping-pong 64 B"),
    "round trip 4 KiB": (("rtt", "--size", 4096), "ping-pong 4 KiB"),
    "WRITE 128 KiB": (("write", "--size", 128 << 10, "--depth", 16), "stream of 128 KiB"),
    "WRITE 1 MiB": (("write", "--size", 1 << 20, "--depth", 4), "stream of 1 MiB"),
    "READ 128 KiB": (("read", "--size", 128 << 10, "--depth", 16), "128 KiB read, depth 16"),
    "READ 1 MiB": (("read", "--size", 1 << 20, "--depth", 4), "1 MiB read, depth 4"),
    "64 B sends": (("sends", "--size", 64), "64 B stream"),
}
CRC = ("on", "off")


def sample(group, name, crc):
    argv = group.command("uiwarp_bench", *CASES[name][0], "--crc", crc, "--seconds",
                         0.3 if group.quick else 1)
    result = group.run(argv)
    group.sample(f"uiwarp crc={crc}:{name}", result["per_second"], "/s", argv)
    if "mean_us" in result:
        group.sample(f"uiwarp us crc={crc}:{name}", result["p50_us"], "us", argv)


def measure(group):
    jobs = []
    for name, (_, shape) in CASES.items():
        jobs.append(lambda shape=shape: tcp.sample(group, shape))
        jobs += [lambda name=name, crc=crc: sample(group, name, crc) for crc in CRC]
    group.in_rounds(jobs)
    for name, (_, shape) in CASES.items():
        for crc in CRC:
            judged = crc == "on"
            if name.startswith("round trip"):
                group.row(f"{name}, median time, CRC {crc}", f"uiwarp us crc={crc}:{name}",
                          f"bare TCP us:{shape}", 1.15 if judged else None)
            else:
                goal = 0.9 if judged and name != "64 B sends" else None
                group.row(f"{name}, rate, CRC {crc}", f"uiwarp crc={crc}:{name}",
                          f"bare TCP:{shape}", goal, at_most=False)
        group.panel(name + " per second",
                    [f"bare TCP:{shape}", *(f"uiwarp crc={crc}:{name}" for crc in CRC)])
