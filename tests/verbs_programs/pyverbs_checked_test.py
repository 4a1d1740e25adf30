#!/usr/bin/env python3
"""rdma-core's own tests under mrpool-run --check: what the checker finds in them is known and true.

    pyverbs_checked_test.py MRPOOL_RUN [MODULE...]

Runs the tests that pyverbs.txt does not list, each in a process of its own. pyverbs_checked.txt lists
what the checker finds in a test, with the reason; anything else that it finds, or that it does not find,
is an error. A test that does not pass, because withheld bytes are missing, runs once more without
that (--guard=none): it must pass then, and what is found in the rest of it counts, too.
"""
import concurrent.futures
import fnmatch
import os
import pathlib
import subprocess
import sys
import tempfile

import known_findings
import pyverbs_test
from known_findings import FAILS


def names(folder, modules):
    """The tests of the modules that are to run."""
    command = pyverbs_test.inner(folder, "--list", *(f"test_{module}" for module in modules))
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    absent = pyverbs_test.ledger()
    return [test for test in listed if not any(fnmatch.fnmatchcase(test, pattern) for pattern in absent)]


def run(mrpool_run, folder, test, guard):
    """What was found, with FAILS where it did not pass, and what it all wrote."""
    with tempfile.TemporaryDirectory() as name:
        report = pathlib.Path(name, "report")
        done = subprocess.run(
            [mrpool_run, "--check", f"--guard={guard}", f"--report={report}", "--check-exit=0",
             "--completions=acknowledged", *pyverbs_test.inner(folder, test)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=pyverbs_test.TIME_LIMIT,
            check=False)
        found = known_findings.found_in(report)
    if f"RESULT\tok\t{test}\t" not in done.stdout or done.returncode != 0:
        found.add(FAILS)
    return found, done.stdout


def run_module(mrpool_run, folder, tests, ledger):
    """One after the other: tests of a module may use the same port. The number of complaints."""
    failures = 0
    for test in tests:
        found, output = run(mrpool_run, folder, test, "auto")
        complaint = ""
        if FAILS in found:
            rest, more = run(mrpool_run, folder, test, "none")
            complaint = "it does not pass without withholding either; " if FAILS in rest else ""
            found |= rest
            output += more
        complaint += ledger.judge(test, found)
        failures += bool(complaint)
        print(f"{'FAIL' if complaint else 'ok  '} {test}: {' '.join(sorted(found))} {complaint}", flush=True)
        if complaint:
            print(output, flush=True)
    return failures


def main():
    mrpool_run, modules = sys.argv[1], sys.argv[2:] or pyverbs_test.MODULES
    here, status = pyverbs_test.shipped()
    if not here:
        return status
    ledger = known_findings.Ledger(pyverbs_test.HERE / "pyverbs_checked.txt")
    with tempfile.TemporaryDirectory() as name:
        folder = pyverbs_test.unpack(pathlib.Path(name))
        tests = names(folder, modules)
        of = lambda module: [test for test in tests if test.startswith(f"test_{module}.")]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = [pool.submit(run_module, mrpool_run, folder, of(module), ledger) for module in modules]
            failures = sum(each.result() for each in runs)
    for entry in ledger.stale(tests) if modules == pyverbs_test.MODULES else []:
        failures += 1
        print(f"FAIL {entry.pattern} {entry.finding}: no such test runs")
    print(f"{len(tests)} tests, {failures} against the ledger")
    return 1 if failures or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
