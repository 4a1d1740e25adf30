#!/usr/bin/env python3
"""Runs the shell blocks of the pages as a reader would type them; each must end with status 0.

    MRPOOL_BIN=build/release/bin tests/docs/blocks_test.py [PAGE...]

A block is what stands between ```sh and ```. One shell runs the blocks of a page, in an empty folder.
It uses free ports in place of those that the page names, a folder in place of /srv/, and loads of a
second. After a command in the background it waits until a port is open: the one of the command, or
the first one of the page. A block with a word that skips.txt lists for its page is not run; a line
there that fits no block is an error.
"""
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/style"))
import pages  # noqa: E402
from source import read_list  # noqa: E402

BIN = pathlib.Path(os.environ.get("MRPOOL_BIN", ROOT / "build/release/bin")).resolve()
TIME_LIMIT = 120
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.S | re.M)
PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")
HEAD = """set -euo pipefail
trap 'jobs=$(jobs -p); [[ -z $jobs ]] || kill $jobs 2>/dev/null || true; wait' EXIT
open() { until grep -q ":$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp; do sleep 0.05; done; }
"""


def blocks(text):
    """(line number, block) of a page."""
    for match in BLOCK.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1]


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
    skips = {tuple(words): 0 for words in read_list(pathlib.Path(__file__).parent / "skips.txt")}
    chosen = [pathlib.Path(name).resolve() for name in sys.argv[1:]]
    failed = ran = 0
    for page in chosen or pages.pages():
        name = str(page.relative_to(ROOT))
        to_run = []
        for line, block in blocks(page.read_text()):
            fits = [skip for skip in skips if skip[0] == name and skip[1] in block]
            for skip in fits:
                skips[skip] += 1
            if not fits:
                to_run.append((line, block))
        if to_run:
            ran += len(to_run)
            with tempfile.TemporaryDirectory() as folder:
                failed += not run(name, to_run, folder)
    unused = [] if chosen else [" ".join(skip) for skip, count in skips.items() if count == 0]
    for skip in unused:
        print(f"FAILED tests/docs/skips.txt: {skip}: fits no block; remove the line")
    print(f"{ran} blocks run, {failed} pages failed, {sum(skips.values())} blocks left out")
    sys.exit(1 if failed or unused or ran == 0 else 0)


if __name__ == "__main__":
    main()
