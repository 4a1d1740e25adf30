#!/usr/bin/env python3
"""Pins the instruction counts of the hot functions, so that a regression shows without a clock.

    tests/callgrind/check.py HOT_PATHS_PROGRAM IO_COST_PROGRAM

Runs each path of pins.txt under valgrind's callgrind and compares its instructions per iteration
with the pin: more than 5 % above is a regression, more than 20 % below means that the pin is out of
date and would let one through. Exits 1 on either. To set a pin anew, write the count this prints.

Paths io_WAY_SIDE are 4 KiB commands at depth 32 through an NVMe-oF target and host (io_cost.cc).
Only what the program itself does is counted of them: libraries choose their code by the processor.
Their bytes go through the kernel, which may deliver late on a loaded machine. A count above its pin
is therefore taken again, and the least of three counts.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import layers  # noqa: E402

PINS = pathlib.Path(__file__).with_name("pins.txt")
FEW, MANY = 100, 600  # the difference of two runs is free of what only the first call does
DEPTH, COMMANDS = 32, 3200
MARGIN = 1.05


def count(program, name, iterations):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
             f"--toggle-collect=hot_{name}", program, name, str(iterations)],
            check=True, capture_output=True, timeout=100)
        return int(re.search(r"^(?:totals|summary): (\d+)", pathlib.Path(out).read_text(),
                             re.M).group(1))


def hot_path(program, name):
    few, many = (count(program, name, n) for n in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def io_path(program, name, pin):
    _, way, side = name.split("_")
    least = float("inf")
    for _ in range(3):
        cost, commands = layers.run(program, f"cost_{side}", way, DEPTH, COMMANDS)
        least = min(least, cost.own() / commands)
        if least <= MARGIN * pin:
            break
    return least


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    bad = 0
    print(f"{'path':20} {'instructions':>12} {'pin':>8}")
    for line in PINS.read_text().splitlines():
        fields = line.split("#")[0].split()
        if not fields:
            continue
        name, pin = fields[0], float(fields[1])
        each = (io_path(sys.argv[2], name, pin) if name.startswith("io_")
                else hot_path(sys.argv[1], name))
        verdict = ""
        if each > MARGIN * pin:
            verdict = "REGRESSION"
        elif each < 0.8 * pin:
            verdict = "pin out of date: lower it"
        bad += verdict != ""
        print(f"{name:20} {each:12.1f} {pin:8g}  {verdict}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
