#!/usr/bin/env python3
"""Debian's verbs programs on uiwarp, unmodified, by mrpool-run.

    programs_test.py MRPOOL_RUN [NAME...]

Each test runs a server and a client on the loopback address; both must end with status 0. Tests that
absent.txt lists with a reason are reported as skipped; one of them that passes is an error, so that
the list stays true.
"""
import dataclasses
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import time

TIME_LIMIT = 60
PACKAGES = "perftest rdmacm-utils ibverbs-utils fio libiscsi-bin ucx-utils libfabric-bin"
HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass
class Pair:
    """A server and a client; PORT stands for the port of this run."""
    name: str
    server: str
    client: str
    endless: bool = False  # the server runs until it is told to stop
    # Of mrpool-run, for both; a server that is not a verbs program runs without it.
    options: str = ""
    bare_server: bool = False

    def program(self, bin_folder):
        """The one that a package may lack; our own server is built."""
        command = self.client if self.bare_server else self.server
        return command.split()[0].replace("BIN", str(bin_folder))


def perftest(program, options, label):
    command = f"{program} -p PORT {options}".strip()
    return Pair(f"{program}{label}", command, f"{command} 127.0.0.1")


def perftests():
    for program in ("ib_send_bw", "ib_send_lat", "ib_write_bw", "ib_write_lat", "ib_read_bw",
                    "ib_read_lat"):
        short = "-n 500"
        yield perftest(program, short, "")
        yield perftest(program, short + " -R", " -R")
        if program.endswith("lat"):
            yield perftest(program, "-n 20 -s 1000000", " -s 1000000")
        else:
            yield perftest(program, short + " -q 4", " -q 4")
        if not program.startswith("ib_write"):
            yield perftest(program, short + " -e", " -e")
        if program.endswith("bw"):
            yield perftest(program, short + " -b", " -b")
    for label in ("", " -q 8", " -q 2 -e", " -q 2 -b", " -q 2 -R"):
        yield perftest("ib_send_bw", f"-n 500 --use-srq{label}", f" --use-srq{label}")
    # More SENDs on their way than the SRQ ever has receives for.
    yield perftest("ib_send_bw", "-n 500 --use-srq -q 8 -r 16 -b -s 200", " --use-srq -q 8 -r 16 -b")
    yield dataclasses.replace(perftest("ib_write_bw", "-n 500", " acknowledged"),
                              options="--completions=acknowledged")
    yield dataclasses.replace(perftest("ib_send_bw", "-n 500 -R", " -R iwarp"),
                              options="--identity=iwarp")
    yield perftest("ib_send_bw", "-n 500 -R -b -q 2", " -R -b -q 2")
    yield perftest("ib_send_lat", "-n 500 -s 8 --use_old_post_send", " --use_old_post_send")
    for label in ("", " -R", " -e", " -b -q 2", " -A FETCH_AND_ADD"):
        yield perftest("ib_atomic_bw", f"-n 500{label}", label)
    for label in ("", " -R", " -e"):
        yield perftest("ib_atomic_lat", f"-n 500{label}", label)
    yield perftest("ib_read_bw", "-n 500 -R -b -q 2 -e", " -R -b -q 2 -e")
    yield perftest("ib_write_bw", "-n 500 -R -b -q 2", " -R -b -q 2")


def fio(verb):
    """The receiver and the sender of fio's rdma engine."""
    common = "--ioengine=rdma --port=PORT --bs=1m --size=8m"
    return Pair(f"fio {verb}", f"fio --name=receiver {common} --rw=read",
                f"fio --name=sender {common} --rw=write --hostname=127.0.0.1 --verb={verb}")


def ucx(label, options):
    """UCX's own benchmark of a transport, without UCP, which needs UD QPs."""
    server = "ucx_perftest -p PORT -d uiwarp0:1 -x rc_verbs"
    return Pair(f"ucx_perftest {label}", server, f"{server} {options} 127.0.0.1", options="--device-file")


def libfabric(endpoint):
    """libfabric's pingpong over its verbs provider."""
    server = f"fi_pingpong -p verbs -e {endpoint} -I 20"
    return Pair(f"fi_pingpong -e {endpoint}", f"{server} -B PORT", f"{server} -P PORT 127.0.0.1")


NQN = "nqn.2026-11.org.mrpool:test"
IQN = "iqn.2026-11.org.mrpool:test"


def libiscsi(name, command):
    """A tool of libiscsi over iSER against the target on uiwarp."""
    return Pair(name, f"BIN/mrpool-iser-target --listen uiwarp://127.0.0.1:PORT --target {IQN} --lun ram:16M",
                command, endless=True, bare_server=True, options="--identity=iwarp")


PAIRS = [
    Pair("ibv_rc_pingpong", "ibv_rc_pingpong -p PORT", "ibv_rc_pingpong -p PORT 127.0.0.1"),
    Pair("ibv_rc_pingpong -e -g 0", "ibv_rc_pingpong -e -g 0 -p PORT",
         "ibv_rc_pingpong -e -g 0 -p PORT 127.0.0.1"),
    Pair("ibv_rc_pingpong -c -s 100000", "ibv_rc_pingpong -c -s 100000 -p PORT",
         "ibv_rc_pingpong -c -s 100000 -p PORT 127.0.0.1"),
    Pair("ibv_rc_pingpong -N", "ibv_rc_pingpong -N -p PORT", "ibv_rc_pingpong -N -p PORT 127.0.0.1"),
    # With several QPs it may post more SENDs than it counts, and an end that has counted enough
    # leaves while the other's are still on their way.
    Pair("ibv_srq_pingpong -q 1", "ibv_srq_pingpong -q 1 -p PORT",
         "ibv_srq_pingpong -q 1 -p PORT 127.0.0.1"),
    Pair("ibv_uc_pingpong", "ibv_uc_pingpong -p PORT", "ibv_uc_pingpong -p PORT 127.0.0.1"),
    Pair("ibv_ud_pingpong", "ibv_ud_pingpong -p PORT", "ibv_ud_pingpong -p PORT 127.0.0.1"),
    Pair("ibv_xsrq_pingpong", "ibv_xsrq_pingpong -p PORT", "ibv_xsrq_pingpong -p PORT 127.0.0.1"),
    Pair("rping", "rping -s -a 127.0.0.1 -p PORT -C 100 -v -V", "rping -c -a 127.0.0.1 -p PORT -C 100 -V"),
    Pair("rping IPv6", "rping -s -a ::1 -p PORT -C 10", "rping -c -a ::1 -p PORT -C 10"),
    Pair("rping any address", "rping -s -p PORT -C 10", "rping -c -a 127.0.0.1 -p PORT -C 10"),
    Pair("rdma_server", "rdma_server -s 127.0.0.1 -p PORT", "rdma_client -s 127.0.0.1 -p PORT"),
    Pair("rdma_xserver", "rdma_xserver -p PORT -c r", "rdma_xclient -s 127.0.0.1 -p PORT -c r"),
    Pair("ucmatose", "ucmatose -b 127.0.0.1 -p PORT -c 4 -C 20 -S 1000",
         "ucmatose -s 127.0.0.1 -p PORT -c 4 -C 20 -S 1000"),
    Pair("ucmatose -m", "ucmatose -b 127.0.0.1 -p PORT -m", "ucmatose -s 127.0.0.1 -p PORT -m"),
    Pair("cmtime", "cmtime -b 127.0.0.1 -p PORT -c 50", "cmtime -s 127.0.0.1 -p PORT -c 50",
         endless=True),
    *perftests(),
    *(fio(verb) for verb in ("write", "read", "send")),
    libfabric("msg"),
    libfabric("rdm"),
    ucx("am", "-t am_lat -n 500 -w 10"),
    ucx("am zcopy", "-t am_bw -n 1000 -D zcopy -s 8000"),
    ucx("put", "-t put_lat -n 500 -w 10"),
    ucx("put bw", "-t put_bw -n 500 -w 2 -D short -s 8"),
    ucx("put zcopy", "-t put_bw -n 50 -w 2 -D zcopy -s 200000"),
    ucx("get", "-t get -n 500 -w 10 -D bcopy -s 4000"),
    ucx("get zcopy", "-t get -n 50 -w 2 -D zcopy -s 200000"),
    Pair("mrpool-nvmf", f"BIN/mrpool-nvmf-target --listen verbs://127.0.0.1:PORT --subnqn {NQN} --namespace ram:16M",
         f"BIN/mrpool-nvmf perf verbs://127.0.0.1:PORT --subnqn {NQN} --size 4M --rw randwrite --iodepth 4 --verify crc32c",
         endless=True),
    libiscsi("iscsi-inq iser", f"iscsi-inq iser://127.0.0.1:PORT/{IQN}/0"),
    libiscsi("iscsi-readcapacity16 iser", f"iscsi-readcapacity16 iser://127.0.0.1:PORT/{IQN}/0"),
]


def free_port():
    """Below the ephemeral range, so that none of the programs' other sockets gets it first."""
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def listens(port):
    """Whether a process of this machine listens on that port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                return True
    return False


def absent():
    """What absent.txt lists: test → reason."""
    lines = (HERE / "absent.txt").read_text().splitlines()
    rows = [line.split(": ", 1) for line in lines if line and not line.startswith("#")]
    return {name: reason for name, reason in rows}


def run(mrpool_run, pair):
    """Empty when both ended well, else what they wrote."""
    port = str(free_port())
    bin_folder = str(pathlib.Path(mrpool_run[0]).parent)
    words = lambda text: text.replace("PORT", port).replace("BIN", bin_folder).split()
    start = lambda command: subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True,
                                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    under = [*mrpool_run, *pair.options.split()]
    server = start(words(pair.server) if pair.bare_server else under + words(pair.server))
    client = None
    deadline = time.monotonic() + TIME_LIMIT
    written = []
    try:
        # Both kinds listen on TCP: a program that exchanges QP numbers itself, and uiwarp for rdma_cm.
        while not listens(int(port)) and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        client = start(under + words(pair.client))
        for name, process in (("client", client), ("server", server)):
            if process is server and pair.endless:
                server.terminate()
                server.wait(TIME_LIMIT)
                break
            try:
                output, _ = process.communicate(timeout=max(1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
                output += "\ntimed out"
            if process.returncode != 0:
                written.append(f"{name} ended with {process.returncode}:\n{output}")
                deadline = min(deadline, time.monotonic() + 2)
    finally:
        for process in (server, client):
            if process is not None and process.poll() is None:
                process.kill()
    return "\n".join(written)


def missing(pair, bin_folder):
    """What to install for it; empty when it is there."""
    program = pair.program(bin_folder)
    return "" if shutil.which(program) else f"{program} is not installed; apt-get install {PACKAGES}"


def main():
    mrpool_run, *wanted = sys.argv[1:]
    listed = absent()
    failures = 0
    for pair in PAIRS:
        if wanted and pair.name not in wanted:
            continue
        output = missing(pair, pathlib.Path(mrpool_run).parent) or run([mrpool_run], pair)
        if pair.name in listed:
            if output:
                print(f"SKIP {pair.name}: {listed[pair.name]}", flush=True)
                continue
            output = "passes, but absent.txt lists it"
        failures += bool(output)
        print(f"{'FAIL' if output else 'ok  '} {pair.name}", flush=True)
        if output:
            print(output, flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
