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
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pyverbs_test

LEDGER = "pyverbs_checked.txt"
FAILS = "fails"


def names(folder, modules):
    """The tests of the modules that are to run."""
    command = pyverbs_test.inner(folder, "--list", *(f"test_{module}" for module in modules))
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    absent = pyverbs_test.ledger()
    return [test for test in listed if not any(fnmatch.fnmatchcase(test, pattern) for pattern in absent)]


def found_in(report):
    """The kinds of findings; the test may have several processes."""
    lines = report.read_text().splitlines() if report.exists() else []
    return {finding["kind"] for finding in map(json.loads, lines) if "kind" in finding}


def run(mrpool_run, folder, test, guard):
    """What was found, with FAILS where it did not pass, and what it all wrote."""
    with tempfile.TemporaryDirectory() as name:
        report = pathlib.Path(name, "report")
        done = subprocess.run(
            [mrpool_run, "--check", f"--guard={guard}", f"--report={report}", "--check-exit=0",
             "--completions=acknowledged", *pyverbs_test.inner(folder, test)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=pyverbs_test.TIME_LIMIT, check=False)
        found = found_in(report)
    if f"RESULT\tok\t{test}\t" not in done.stdout or done.returncode != 0:
        found.add(FAILS)
    return found, done.stdout


def expected_of(test, listed):
    """(pattern and finding, the finding, whether it need not come) that concern the test."""
    for entry in listed:
        pattern, finding = entry.split()
        if fnmatch.fnmatchcase(test, pattern):
            yield entry, finding.removesuffix("?"), finding.endswith("?")


def judge(test, found, listed):
    """Empty when the ledger and the run agree."""
    expected = list(expected_of(test, listed))
    unknown = found - {finding for _, finding, _ in expected}
    missing = {finding for _, finding, optional in expected if not optional} - found
    complaints = [f"{finding}: {LEDGER} does not list it" for finding in sorted(unknown)]
    complaints += [f"no {finding}, but {LEDGER} lists it" for finding in sorted(missing)]
    return "; ".join(complaints)


def run_module(mrpool_run, folder, tests, listed):
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
        complaint += judge(test, found, listed)
        failures += bool(complaint)
        print(f"{'FAIL' if complaint else 'ok  '} {test}: {' '.join(sorted(found))} {complaint}", flush=True)
        if complaint:
            print(output, flush=True)
    return failures


def stale(tests, listed, modules):
    """Entries that concern no test."""
    used = {entry for test in tests for entry, _, _ in expected_of(test, listed)}
    return [entry for entry in listed
            if entry not in used and entry.split(".")[0].removeprefix("test_") in modules]


def main():
    mrpool_run, modules = sys.argv[1], sys.argv[2:] or pyverbs_test.MODULES
    here, status = pyverbs_test.shipped()
    if not here:
        return status
    listed = pyverbs_test.ledger(LEDGER)
    with tempfile.TemporaryDirectory() as name:
        folder = pyverbs_test.unpack(pathlib.Path(name))
        tests = names(folder, modules)
        of = lambda module: [test for test in tests if test.startswith(f"test_{module}.")]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            runs = [pool.submit(run_module, mrpool_run, folder, of(module), listed) for module in modules]
            failures = sum(each.result() for each in runs)
    for entry in stale(tests, listed, modules):
        failures += 1
        print(f"FAIL {entry}: {LEDGER} lists it, but no such test runs")
    print(f"{len(tests)} tests, {failures} against the ledger")
    return 1 if failures or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
