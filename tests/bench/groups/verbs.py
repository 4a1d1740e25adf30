"""Unmodified verbs programs on uiwarp by mrpool-run, against TCP in the same shape.

perftest's peer is bare TCP (tcp_ceiling.cc), UCX's is its own transport tcp, fio's its own engine
net, and the peer of the rate of small SENDs is the library without the provider (uiwarp_bench.cc).
Both ends run on one machine, the server on core 0, the client on core 1.
"""
import json

from groups import tcp, uiwarp
from lib import pair

TITLE = "Verbs programs by mrpool-run: perftest, UCX and fio against TCP in the same shape"
PROGRAMS = ("mrpool-run", "tcp_ceiling", "uiwarp_bench")

# perftest: name → (program, bytes, iterations, bare TCP's shape)
BANDWIDTH = {
    "ib_write_bw 64 KiB": ("ib_write_bw", 64 << 10, 24000, "stream of 64 KiB"),
    "ib_write_bw 1 MiB": ("ib_write_bw", 1 << 20, 1500, "stream of 1 MiB"),
    "ib_read_bw 64 KiB": ("ib_read_bw", 64 << 10, 24000, "64 KiB read, depth 16"),
    "ib_read_bw 1 MiB": ("ib_read_bw", 1 << 20, 1500, "1 MiB read, depth 4"),
}
LATENCY = {
    "ib_send_lat 64 B": ("ib_send_lat", 64, 30000),
    "ib_write_lat 64 B": ("ib_write_lat", 64, 30000),
}
PING_PONG = "ping-pong 64 B"
SENDS, SENDS_PEER = "ib_send_bw 64 B", "64 B sends"
SENDS_ITERATIONS = 300000
# UCX: name → (test, options, iterations, what is compared). UCX's tcp has no other way to PUT.
UCX = {
    "ucx_perftest am_lat 32 B": ("am_lat", ("-s", 32), 20000, "latency"),
    "ucx_perftest am_bw 8,000 B": ("am_bw", ("-D", "zcopy", "-s", 8000), 60000, "bandwidth"),
    "ucx_perftest put_bw 64 KiB": ("put_bw", ("-D", "zcopy", "-s", 64 << 10), 10000, "bandwidth"),
    "ucx_perftest put_bw 1 MiB": ("put_bw", ("-D", "zcopy", "-s", 1 << 20), 800, "bandwidth"),
}
UCX_TRANSPORTS = {"rc_verbs": ("-x", "rc_verbs", "-d", "uiwarp0:1"),
                  "rc_verbs, CRC off": ("-x", "rc_verbs", "-d", "uiwarp0:1"),
                  "tcp": ("-x", "tcp", "-d", "lo")}
# fio: name → (bytes of a block, verb)
FIO = {
    "fio write 64 KiB": ("64k", "write"),
    "fio write 1 MiB": ("1m", "write"),
    "fio send 64 KiB": ("64k", "send"),
}
FIO_ENGINES = ("net", "rdma")
# The engine rdma sleeps for so long after it has connected, inside the time that fio measures.
FIO_RDMA_SLEEP_MS = 500
MIB = 1 << 20


def less(group, iterations):
    return max(100, iterations // 4) if group.quick else iterations


def ours(name):
    return f"{name}, on uiwarp"


def by_mrpool(group, argv, *options):
    return group.command("mrpool-run", *options, "--", *argv)


def bare_tcp(group, shape):
    result = tcp.sample(group, shape)
    group.sample(f"bare TCP bytes:{shape}", result["bytes_per_second"], "B/s",
                 tcp.command(group, shape))


def perftest(group, program, size, iterations):
    """The columns of a perftest program's result; and the client's command."""
    port = pair.free_port()
    server = by_mrpool(group, [program, "-s", size, "-n", less(group, iterations), "-p", port])
    client = [*server, "127.0.0.1"]
    output = pair.run(server, client, port)
    lines = output.splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith(" #bytes")), len(lines))
    if at + 1 >= len(lines):
        raise RuntimeError(f"{program} printed no result: {pair.tail(output)}")
    return [float(word) for word in lines[at + 1].split()], client


def perftest_bandwidth(group, name):
    columns, command = perftest(group, *BANDWIDTH[name][:3])
    # Bytes, iterations, peak and average (MiB/s), millions of messages a second.
    group.sample(ours(name), columns[3] * MIB, "B/s", command)


def perftest_latency(group, name):
    columns, command = perftest(group, *LATENCY[name][:3])
    # Bytes, iterations; least, most and typical time of half a round trip.
    group.sample(ours(name), 2 * columns[4], "us", command)


def perftest_sends(group):
    columns, command = perftest(group, "ib_send_bw", 64, SENDS_ITERATIONS)
    group.sample(ours(SENDS), columns[3] * MIB / columns[0], "/s", command)


def ucx(group, name, transport):
    test, options, iterations, kind = UCX[name]
    port = pair.free_port()
    server = ["ucx_perftest", "-p", port, *UCX_TRANSPORTS[transport]]
    client = [*server, "-t", test, *options, "-n", less(group, iterations), "-w", 100, "-v",
              "127.0.0.1"]
    series = f"{name}, {transport}"
    if transport != "tcp":
        series = ours(series)
        crc = "--crc=off" if transport.endswith("CRC off") else "--crc=on"
        server, client = (by_mrpool(group, argv, "--device-file", crc) for argv in (server, client))
    output = pair.run(server, client, port)
    # Iterations; time: median, average, overall; MiB/s: average, overall; messages a second.
    columns = [float(word) for word in output.split()[-1].split(",")]
    if kind == "latency":
        group.sample(series, columns[1], "us", client)
    else:
        group.sample(series, columns[5] * MIB, "B/s", client)


def fio(group, name, engine):
    block, verb = FIO[name]
    port = pair.free_port()
    # An option of an engine comes after the engine.
    common = ["fio", "--output-format=json", "--name=job", f"--ioengine={engine}",
              f"--port={port}", f"--bs={block}", "--iodepth=16"]
    size = "256m" if group.quick else "1g"
    # The receiver of net ends with the connection. It counts a short receive as a block, and the
    # sender is killed by SIGPIPE where the receiver has counted enough of them too early.
    server = [*common, "--rw=read", f"--size={'1t' if engine == 'net' else size}"]
    client = [*common, "--rw=write", "--hostname=127.0.0.1", f"--size={size}"]
    series = f"{name}, {engine}"
    if engine == "rdma":
        series = ours(series)
        client.append(f"--verb={verb}")
        server, client = (by_mrpool(group, argv) for argv in (server, client))
    else:
        server += ["--protocol=tcp", "--listen"]
        client += ["--protocol=tcp"]
    output = pair.run(server, client, port)
    sent = json.loads(output[output.index("{"):])["jobs"][0]["write"]
    milliseconds = sent["runtime"] - (FIO_RDMA_SLEEP_MS if engine == "rdma" else 0)
    group.sample(series, sent["io_bytes"] * 1000 / milliseconds, "B/s", client)


def jobs_of(group):
    """A round: each of ours next to its peer."""
    for name, (*_, shape) in BANDWIDTH.items():
        yield lambda shape=shape: bare_tcp(group, shape)
        yield lambda name=name: perftest_bandwidth(group, name)
    yield lambda: bare_tcp(group, PING_PONG)
    for name in LATENCY:
        yield lambda name=name: perftest_latency(group, name)
    yield lambda: uiwarp.sample(group, SENDS_PEER, "on")
    yield lambda: perftest_sends(group)
    for name in UCX:
        for transport in UCX_TRANSPORTS:
            yield lambda name=name, transport=transport: ucx(group, name, transport)
    for name in FIO:
        for engine in FIO_ENGINES:
            yield lambda name=name, engine=engine: fio(group, name, engine)


def rows(group):
    for name, (*_, shape) in BANDWIDTH.items():
        group.row(f"{name} / bare TCP", ours(name), f"bare TCP bytes:{shape}", 0.85, at_most=False)
    for name in LATENCY:
        group.row(f"{name}, round trip / bare TCP", ours(name), f"bare TCP us:{PING_PONG}", 1.25)
    group.row(f"{SENDS}, rate / the library alone", ours(SENDS), f"uiwarp crc=on:{SENDS_PEER}",
              at_most=False)
    for name, (*_, kind) in UCX.items():  # UCX's tcp has no CRC
        for crc in "on", "off":
            series = ours(f"{name}, rc_verbs" + (", CRC off" if crc == "off" else ""))
            group.row(f"{name}, {kind}, CRC {crc} / UCX's tcp", series, f"{name}, tcp", 1.0,
                      at_most=kind == "latency")
    for name in FIO:
        group.row(f"{name} / fio's net", ours(f"{name}, rdma"), f"{name}, net", at_most=False)


def panels(group):
    group.panel("perftest, bytes per second", [
        series for name, (*_, shape) in BANDWIDTH.items()
        for series in (f"bare TCP bytes:{shape}", ours(name))])
    group.panel("perftest, round trip",
                [f"bare TCP us:{PING_PONG}", *(ours(name) for name in LATENCY)])
    for title, kind in (("UCX, bytes per second", "bandwidth"), ("UCX, half a round trip", "latency")):
        group.panel(title, [series for name, row in UCX.items() if row[-1] == kind
                            for series in (f"{name}, tcp", ours(f"{name}, rc_verbs"),
                                           ours(f"{name}, rc_verbs, CRC off"))])
    group.panel("fio, bytes per second", [
        series for name in FIO for series in (f"{name}, net", ours(f"{name}, rdma"))])


def measure(group):
    group.in_rounds(list(jobs_of(group)))
    rows(group)
    panels(group)
    group.notes.append("both ends on this machine, server on core 0, client on core 1; MPA's CRC is "
                       "on where no row says otherwise; fio keeps 16 blocks outstanding with rdma and one with net; the half "
                       "second for which its engine rdma sleeps is left out")
