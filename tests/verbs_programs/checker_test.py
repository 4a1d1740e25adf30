#!/usr/bin/env python3
"""What mrpool-run --check does for programs that fork or close standard error.

    checker_test.py MRPOOL_RUN CASES

CASES is checker_cases; beside it is CASES.asan, built with AddressSanitizer.
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

MRPOOL_RUN = ""
CASES = ""
SUMMARY = "mrpool-check: 0 errors, "


def run(*arguments, options=(), program=None):
    return subprocess.run([MRPOOL_RUN, "--check", *options, program or CASES, *arguments], capture_output=True,
                          text=True, timeout=120, check=False)


class Checker(unittest.TestCase):
    def test_two_unused_rights_are_two_findings(self):
        done = run("rights")
        self.assertEqual(done.returncode, 0, done.stderr)
        for right in ("IBV_ACCESS_REMOTE_WRITE", "IBV_ACCESS_REMOTE_READ"):
            self.assertIn(f"hint: unused-right: {right} was asked for", done.stderr)
        self.assertIn(SUMMARY + "2 hints", done.stderr)

    def test_findings_after_standard_error_was_closed(self):
        with tempfile.TemporaryDirectory() as folder:
            other = pathlib.Path(folder, "other")
            done = run("closed-stderr", str(other))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(other.read_text(), "")
        self.assertIn("hint: unused-right:", done.stderr)
        self.assertIn(SUMMARY, done.stderr)

    def test_forked_children_have_no_guards(self):
        for program, guard in ((CASES, "pages"), (f"{CASES}.asan", "asan")):
            done = run("forks", options=[f"--guard={guard}"], program=program)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("AddressSanitizer", done.stderr)


if __name__ == "__main__":
    CASES = sys.argv.pop(2)
    MRPOOL_RUN = sys.argv.pop(1)
    unittest.main()
