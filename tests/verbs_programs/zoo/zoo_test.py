#!/usr/bin/env python3
"""Small wrong programs under mrpool-run --check: each fault is reported with its kind and line.

    zoo_test.py MRPOOL_RUN FOLDER [KIND...]

Each program of this folder is named after the kind of finding that it stands for (and, where a kind
has several, after what makes it: KIND__WHAT) and is run as
"PROGRAM wrong" and "PROGRAM right". Wrong, the finding's stacks must name the line that says FAULT
and the exit status must follow from errors; right, there must be no finding at all.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
TIME_LIMIT = 60
STATUS = 66


# Where another guard than that of auto is of interest: what the checker looks up then is not there.
GUARDS = {"memory_freed__free": "none"}


def fault_line(source):
    lines = source.read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.rstrip().endswith("// FAULT"))


def findings(mrpool_run, program, how, guard):
    """(exit status, the findings as dictionaries, standard error)."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report")
        done = subprocess.run([mrpool_run, "--check", f"--guard={guard}", f"--report={report}", program, how],
                              capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        lines = [json.loads(line) for line in report.read_text().splitlines()]
    return done.returncode, [line for line in lines if "kind" in line], done.stderr


def places(finding):
    """(file name, line) of all frames."""
    stacks = [finding["stack"], *(origin["stack"] for origin in finding["origins"])]
    return {(pathlib.Path(frame["file"]).name, frame["line"]) for stack in stacks for frame in stack}


def check(mrpool_run, program, source, guard=None):
    """What is wrong, as a text; empty when nothing is."""
    guard = guard or GUARDS.get(source.stem, "auto")
    kind = source.stem.split("__")[0].replace("_", "-")
    status, found, text = findings(mrpool_run, program, "wrong", guard)
    place = (source.name, fault_line(source))
    hits = [each for each in found if each["kind"] == kind and place in places(each)]
    if not hits:
        return f"wrong: no {kind} that names {place}:\n{text}"
    expected = STATUS if any(each["severity"] == "error" for each in found) else 0
    if status != expected:
        return f"wrong: ended with {status} instead of {expected}:\n{text}"
    status, found, text = findings(mrpool_run, program, "right", guard)
    if status != 0 or found:
        return f"right: ended with {status} and findings:\n{text}"
    return ""


def missing():
    """The kinds of findings that no program here stands for."""
    table = (HERE.parents[2] / "transport/checker/kind.h").read_text()
    kinds = re.findall(r'KindInfo\{Kind::\w+, "([\w-]+)"', table)
    have = {source.stem.split("__")[0].replace("_", "-") for source in HERE.glob("*.c")}
    return [kind for kind in kinds if kind not in have]


def check_asan(mrpool_run, program, source):
    """As check(), in a build with AddressSanitizer, which may miss what happens in the device's turn,
    and calls it an unknown crash instead of a use after poison where the turn begins after the access."""
    place = (source.name, fault_line(source))
    for _ in range(50):
        status, found, text = findings(mrpool_run, program, "wrong", "auto")
        if any(place in places(each) for each in found):
            break
    if status != STATUS or "ERROR: AddressSanitizer: " not in text:
        return f"wrong: ended with {status}:\n{text}"
    status, found, text = findings(mrpool_run, program, "right", "auto")
    if status != 0 or found or "AddressSanitizer" in text:
        return f"right: ended with {status}:\n{text}"
    return ""


def main():
    mrpool_run, folder, wanted = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    failures = 0
    for kind in missing():
        failures += 1
        print(f"FAIL {kind} has no program in {HERE}")
    for source in sorted(HERE.glob("*.c")):
        if source.stem == "ends" or (wanted and source.stem not in wanted):
            continue
        text = check(mrpool_run, folder / source.stem, source)
        failures += bool(text)
        print(f"{'FAIL' if text else 'ok  '} {source.stem} {text}", flush=True)
    if not wanted:
        source = HERE / "premature_access__write.c"
        checks = [(source, "AddressSanitizer", check_asan(mrpool_run, folder / f"{source.stem}.asan", source))]
        checks += [(source, "Valgrind", check(mrpool_run, folder / source.stem, source, "valgrind"))
                   for source in sorted(HERE.glob("premature_access*.c"))]
        for source, name, text in checks:
            failures += bool(text)
            print(f"{'FAIL' if text else 'ok  '} {source.stem} under {name} {text}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
