#!/usr/bin/env python3
"""Debian's verbs programs under mrpool-run --check: what the checker finds in them is known and true.

    programs_checked_test.py MRPOOL_RUN [NAME...]

Runs the pairs of programs_test.py. programs_checked.txt lists what the checker finds in a pair, with the
reason; anything else that it finds, or that it does not find, is an error.
"""
import concurrent.futures
import os
import pathlib
import sys
import tempfile

import known_findings
import programs_test


def run(mrpool_run, pair, ledger):
    """What was found, with FAILS where an end did not end well, and what is wrong about it."""
    wrong = programs_test.missing(pair, pathlib.Path(mrpool_run).parent)
    if wrong:
        return set(), wrong
    with tempfile.TemporaryDirectory() as name:
        report = pathlib.Path(name, "report")
        output = programs_test.run([mrpool_run, "--check", "--check-exit=0", f"--report={report}"], pair)
        found = known_findings.found_in(report)
        text = report.read_text() if report.exists() else ""
    found |= {known_findings.FAILS} if output else set()
    complaint = ledger.judge(pair.name, found)
    return found, f"{complaint}\n{output}\n{text}" if complaint else ""


def main():
    mrpool_run, *wanted = sys.argv[1:]
    ledger = known_findings.Ledger(programs_test.HERE / "programs_checked.txt")
    pairs = [pair for pair in programs_test.PAIRS if pair.name not in programs_test.absent()]
    stale = ledger.stale([pair.name for pair in pairs])
    pairs = [pair for pair in pairs if not wanted or pair.name in wanted]
    failures = len(stale)
    for entry in stale:
        print(f"FAIL {entry.pattern} {entry.finding}: no such program runs")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for pair, (found, wrong) in zip(pairs, pool.map(lambda pair: run(mrpool_run, pair, ledger), pairs)):
            failures += bool(wrong)
            print(f"{'FAIL' if wrong else 'ok  '} {pair.name}: {' '.join(sorted(found))}", flush=True)
            if wrong:
                print(wrong, flush=True)
    print(f"{len(pairs)} pairs of programs, {failures} against the list")
    return 1 if failures or not pairs else 0


if __name__ == "__main__":
    sys.exit(main())
