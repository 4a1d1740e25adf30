#!/usr/bin/env python3
"""Wireshark reads what uiwarp writes.

    tests/conformance/tshark_test.py MRPOOL_CONFORMANCE

Captures the session of Wire.OneOfEverything on loopback, with CRC and without, and asserts that
Wireshark's MPA, DDP and RDMAP dissectors decode every FPDU of it (counted by opcode against what the
program posted), find no malformed one, and accept every CRC.

Needs tshark and the right to capture on lo (root, or dumpcap with capabilities); fails without, and
is skipped (exit status 77) only where MRPOOL_SKIP_TSHARK says why.
"""
import collections
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import time

# RDMAP opcodes, RFC 5040 §4.3 and RFC 7306. Wireshark has no name for immediate data, but its number.
OPCODES = {
    0: "write", 1: "read_request", 2: "read_response", 3: "send", 4: "send_with_invalidate",
    5: "send_solicited", 6: "send_solicited_with_invalidate", 7: "terminate",
    8: "immediate", 9: "immediate_solicited", 10: "atomic_request", 11: "atomic_response",
}
DECODE = [
    # All of a stream is MPA, whatever else its ephemeral port may be known for.
    "-o", "tcp.try_heuristic_first:TRUE",
    # Loopback captures see packets before the checksum is filled in.
    "-o", "tcp.check_checksum:FALSE",
    # Guesses at what a SEND carries; these sessions carry a pattern.
    "--disable-protocol", "rpcordma", "--disable-protocol", "smb_direct",
]


def fail(message):
    sys.exit(f"tshark_test: {message}")


def free_port(host):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def wait_for_the_end(pcap, host, port):
    """Packets reach the file late. One more connection attempt stands behind all of the session:
    when its SYN is there, so is everything."""
    with socket.socket() as marker:
        marker.connect_ex((host, port))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        seen = subprocess.run(
            ["tshark", "-r", str(pcap), "-Y", "tcp.flags.syn==1 && tcp.flags.ack==0",
             "-T", "fields", "-e", "frame.number"], capture_output=True, text=True, check=False)
        if len(seen.stdout.split()) >= 2:
            return
        time.sleep(0.2)
    fail("the capture never got to the end of the session")


def capture(conformance, folder, options):
    """Runs the session under dumpcap; returns the capture's path and the posted counts."""
    # Nobody else is given a port of this address before the session has it, nor knocks at it.
    host = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    port = free_port(host)
    pcap = folder / f"session-{port}.pcapng"
    dump = subprocess.Popen(
        ["dumpcap", "-q", "-i", "lo", "-B", "64", "-f", f"host {host} and tcp port {port}", "-w", str(pcap)],
        stderr=subprocess.PIPE, text=True)
    # It says so once it listens; what it says before that is why it does not.
    said = ""
    for line in dump.stderr:
        said += line
        if line.startswith("File:"):
            break
    else:
        fail(f"dumpcap cannot capture on lo (root, or `setcap cap_net_raw+ep` on it, is needed):\n{said}")
    report = folder / f"session-{port}.json"
    run = subprocess.run(
        [conformance, f"--device=uiwarp://{host}:{port}?{options}",
         "--gtest_filter=Wire.OneOfEverything", f"--gtest_output=json:{report}"],
        capture_output=True, text=True, timeout=120)
    if run.returncode != 0:
        dump.kill()
        fail(f"the session failed:\n{run.stdout}{run.stderr}")
    wait_for_the_end(pcap, host, port)
    dump.terminate()
    said = dump.stderr.read()
    dump.wait(timeout=120)
    dropped = re.search(r"dropped on interface 'lo': \d+/(\d+)", said)
    if dropped and int(dropped.group(1)):
        fail(f"dumpcap dropped {dropped.group(1)} packets, so nothing can be counted")
    test = json.loads(report.read_text())["testsuites"][0]["testsuite"][0]
    posted = {name: int(test[name]) for name in OPCODES.values() if name in test}
    return pcap, posted


def decode(pcap):
    """Everything Wireshark says of the capture, as one text."""
    run = subprocess.run(["tshark", "-r", str(pcap), *DECODE, "-V", "-O",
                          "iwarp_mpa,iwarp_ddp_rdmap"],
                         capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        fail(f"tshark: {run.stderr}")
    return run.stdout


def check(name, pcap, posted, crc):
    text = decode(pcap)
    seen = collections.Counter(
        OPCODES.get(int(number, 16), f"opcode 0x{number}")
        # An atomic's own code, which is named so too, is decimal.
        for number in re.findall(r"OpCode: .*?\(0x([0-9a-f]+)\)", text))
    # Not posted by the program: the initiator's ready-to-receive message, a WRITE of no bytes
    # (RFC 6581 §8).
    expected = collections.Counter({key: value for key, value in posted.items() if value})
    expected["write"] += 1
    total = sum(expected.values())
    if seen != expected:
        fail(f"{name}: Wireshark decodes {dict(seen)}, the program sent {dict(expected)} "
             f"(capture kept: {pcap})")
    fpdus = len(re.findall(r"ULPDU length: \d+", text))
    if fpdus != total:
        fail(f"{name}: {fpdus} FPDUs framed, {total} sent (capture kept: {pcap})")
    for word in ("Malformed", "Bad CRC", "Unreassembled", "Dissector bug"):
        if word in text:
            at = text.index(word)
            fail(f"{name}: Wireshark says '{text[max(0, at - 200):at + 80]}' (capture kept: {pcap})")
    # The fields of the atomics, where RFC 7306 and this dissector have them.
    if posted.get("atomic_request"):
        for line in (r"FetchAdd", r"CmpSwap", r"Add Data: 0*72623859790382856",
                     r"Swap Data: 0*1230066625199609624",
                     r"Compare Data: 0*72623859790382856"):
            if not re.search(line, text):
                fail(f"{name}: Wireshark shows no '{line}' (capture kept: {pcap})")
    good = len(re.findall(r"Good CRC", text))
    if crc and good != total:
        fail(f"{name}: {good} good CRCs for {total} FPDUs (capture kept: {pcap})")
    print(f"{name}: {total} FPDUs decoded, none malformed"
          f"{f', {good} CRCs good' if crc else ''}: "
          + ", ".join(f"{count} {key}" for key, count in sorted(seen.items())))


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    if reason := os.environ.get("MRPOOL_SKIP_TSHARK"):
        print(f"skipped: {reason}")
        sys.exit(77)
    for tool in ("tshark", "dumpcap"):
        if subprocess.run(["which", tool], capture_output=True, check=False).returncode:
            fail(f"{tool} is missing: apt-get install tshark")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mrpool-tshark-"))
    for name, options, crc in (("CRC on", "crc=on", True), ("CRC off", "crc=off", False)):
        pcap, posted = capture(sys.argv[1], folder, options)
        check(name, pcap, posted, crc)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


if __name__ == "__main__":
    main()
