#!/usr/bin/env python3
"""Runs the shell blocks of the pages as a reader would type them; each must end with status 0.

    MRPOOL_BIN=build/release/bin tests/docs/blocks_test.py [PAGE...]

A block is what a fence of sh, bash or console encloses. So is a fence without a language, or an
indented block, that begins with a command; of a block with prompts ("$ ") the lines with a prompt are
run. One shell runs the blocks of a page, in an empty folder. It uses free ports in place of those that
the page names, a folder in place of /srv/, and loads of a second. After a command in the background
it waits until a port is open: the one of the command, or the first one of the page.

A block with a text that skips.txt lists for its page is not run. It is printed with its reason, and
counted by the kind of reason. A line of skips.txt that fits no block is an error.
"""
import collections
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/style"))
import pages  # noqa: E402

BIN = pathlib.Path(os.environ.get("MRPOOL_BIN", ROOT / "build/release/bin")).resolve()
TIME_LIMIT = 120
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.S | re.M)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)((?: {4}.*\n|\n(?= {4}))+)")
# How an indented block begins, or a fence without a language, where it is one for a shell.
COMMAND = re.compile(r"\$ |(?:[A-Z_]+=\S+ )*(?:mrpool-[\w-]+|(?:tests|build|examples|\.ci)/\S+|cmake|"
                     r"ninja|perf|nvme|nvmetcli|targetctl|apt-get|ceph|bpftrace|rpc\.py)\s")
# What a line of skips.txt may begin with.
KINDS = {
    "test": "another test runs them", "build": "they build or install",
    "vm": "they need a kernel that runs in a virtual machine", "root": "they need root",
    "minutes": "they take minutes", "cluster": "they need a Ceph cluster",
    "reader": "they use a program of the reader", "text": "they are no commands"}
PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")
HEAD = """set -euo pipefail
trap 'jobs=$(jobs -p); [[ -z $jobs ]] || kill $jobs 2>/dev/null || true; wait' EXIT
open() { until grep -q ":$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp; do sleep 0.05; done; }
"""


def blocks(text):
    """(line number, block) of a page, in its order."""
    found = []
    for match in FENCE.finditer(text):
        block = re.sub(rf"^{match[1]}", "", match[3], flags=re.M)
        if match[2] in ("sh", "bash", "console") or (not match[2] and COMMAND.match(block)):
            found.append((match.start(), block))
    outside = FENCE.sub(lambda match: re.sub(r"[^\n]", "`", match[0]), text)
    for match in INDENTED.finditer(outside):
        block = re.sub(r"^ {4}", "", match[1], flags=re.M)
        if COMMAND.match(block):
            found.append((match.start(), block))
    return [(text.count("\n", 0, start) + 1, without_output(block)) for start, block in sorted(found)]


def without_output(block):
    """Of a block with prompts, its commands."""
    if not block.startswith("$ "):
        return block
    return "".join(f"{command}\n" for command in re.findall(r"^\$ ((?:.*\\\n)*.*)", block, re.M))


def read_skips(path):
    """{(page, text): (kind, reason)} of lines "KIND PAGE TEXT  # REASON"."""
    skips = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            where, reason = line.split("  # ")
            kind, page, text = where.split(maxsplit=2)
            if kind not in KINDS:
                sys.exit(f"{path}: {kind} is not one of {', '.join(KINDS)}")
            skips[page, text.strip()] = (kind, reason)
    return skips


def free_port():
    """One that no connection takes for its own end before the daemon has it."""
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def script(blocks_to_run, folder):
    """What bash runs for them; a line "@@NUMBER" comes before what a block prints."""
    ports = {}
    text = HEAD
    for line, block in blocks_to_run:
        block = PORT.sub(lambda m: str(ports.setdefault(m[0], free_port())), block)
        block = block.replace("build/release/bin/", "").replace("/srv/", f"{folder}/srv/")
        block = re.sub(r"--runtime \d+", "--runtime 1", block)
        commands = re.split(r"(?<!\\)\n", block)
        for at, command in enumerate(commands):
            port = PORT.search(command)
            if re.search(r"(?<!&)&\s*$", command) and ports:
                commands[at] += f"\nopen {port[0] if port else next(iter(ports.values()))}"
        text += f"echo @@{line}\n" + "\n".join(commands)
    return text


def run(name, blocks_to_run, folder):
    """Whether all ended well; prints what they wrote if not."""
    pathlib.Path(folder, "srv").mkdir()
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}:/sbin:/usr/sbin"}
    with subprocess.Popen(["bash", "-c", script(blocks_to_run, folder)], cwd=folder,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", start_new_session=True) as shell:
        try:
            output, _ = shell.communicate(timeout=TIME_LIMIT)
            outcome = f"status {shell.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            output, outcome = shell.communicate()[0], f"no end within {TIME_LIMIT} s"
    if outcome == "status 0":
        print(f"ok     {name}: {len(blocks_to_run)} blocks", flush=True)
        return True
    last = (re.findall(r"^@@(\d+)$", output, re.M) or ["1"])[-1]
    print(f"FAILED {name}:{last}: {outcome}", output, sep="\n", flush=True)
    return False


def main():
    skips = read_skips(pathlib.Path(__file__).parent / "skips.txt")
    used, left_out = set(), collections.Counter()
    chosen = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    failed = ran = 0
    began = time.monotonic()
    for page in chosen or pages.pages():
        name = str(page.relative_to(ROOT))
        to_run = []
        for line, block in blocks(page.read_text()):
            fits = [skip for skip in skips if skip[0] == name and skip[1] in block]
            used.update(fits)
            if fits:
                kind, reason = skips[fits[0]]
                left_out[kind] += 1
                print(f"left out {name}:{line}: {reason}")
            else:
                to_run.append((line, block))
        if to_run:
            ran += len(to_run)
            with tempfile.TemporaryDirectory() as folder:
                failed += not run(name, to_run, folder)
    unused = [] if chosen else sorted(set(skips) - used)
    for skip in unused:
        print(f"FAILED tests/docs/skips.txt: {' '.join(skip)}: fits no block; remove the line")
    print(f"{ran} blocks run in {time.monotonic() - began:.0f} s, {failed} pages failed, "
          f"{left_out.total()} blocks left out:")
    for kind, count in left_out.most_common():
        print(f"{count:4} because {KINDS[kind]}")
    sys.exit(1 if failed or unused or ran == 0 else 0)


if __name__ == "__main__":
    main()
