#!/usr/bin/env python3
"""Pins the instruction counts of the hot functions, so that a regression shows without a clock.

    tests/callgrind/check.py HOT_PATHS_PROGRAM

Runs each path of pins.txt under valgrind's callgrind and compares its instructions per iteration
with the pin: more than 5 % above is a regression, more than 20 % below means that the pin is out of
date and would let one through. Exits 1 on either. To set a pin anew, write the count this prints.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

PINS = pathlib.Path(__file__).with_name("pins.txt")
FEW, MANY = 100, 600  # the difference of two runs is free of what only the first call does


def count(program, name, iterations):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
             f"--toggle-collect=hot_{name}", program, name, str(iterations)],
            check=True, capture_output=True, timeout=100)
        return int(re.search(r"^(?:totals|summary): (\d+)", pathlib.Path(out).read_text(),
                             re.M).group(1))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    bad = 0
    print(f"{'path':20} {'instructions':>12} {'pin':>8}")
    for line in PINS.read_text().splitlines():
        fields = line.split("#")[0].split()
        if not fields:
            continue
        name, pin = fields[0], float(fields[1])
        few, many = (count(sys.argv[1], name, n) for n in (FEW, MANY))
        each = (many - few) / (MANY - FEW)
        verdict = ""
        if each > 1.05 * pin:
            verdict = "REGRESSION"
        elif each < 0.8 * pin:
            verdict = "pin out of date: lower it"
        bad += verdict != ""
        print(f"{name:20} {each:12.1f} {pin:8g}  {verdict}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
