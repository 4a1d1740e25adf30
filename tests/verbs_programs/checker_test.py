#!/usr/bin/env python3
"""What mrpool-run --check does for programs that fork or close standard error.

    checker_test.py MRPOOL_RUN CASES

CASES is checker_cases; beside it is CASES.asan, built with AddressSanitizer.
"""
import json
import os
import pathlib
import signal
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

    def test_a_process_whose_main_thread_ends_by_pthread_exit(self):
        for case, output in (("leave-main", "exchanged\n"), ("leave-main-alone", "")):
            for options in ([], ["--check"]):
                done = subprocess.run([MRPOOL_RUN, *options, CASES, case], capture_output=True, text=True,
                                      timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout), (0, output), done.stderr)
                self.assertEqual(SUMMARY in done.stderr, bool(options), done.stderr)

    def test_what_peers_write_is_no_change_of_the_program(self):
        for case in ("window", "offsets"):
            done = run(case)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(SUMMARY + "0 hints", done.stderr)

    def test_a_refusal_names_the_window(self):
        done = run("closed-window", options=["--completions=acknowledged"])
        self.assertEqual(done.returncode, 66, done.stderr)
        self.assertRegex(done.stderr, "a peer's RDMA WRITE .* a memory window of MR lkey 0x[0-9a-f]+ .* has, or had")
        self.assertRegex(done.stderr, r"closed_window \(.*checker_cases\.c:")


def line_of(mark):
    lines = pathlib.Path(__file__).with_name("checker_cases.c").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.endswith(f"// {mark}"))


class Valgrind(unittest.TestCase):
    """What mrpool-run makes of Valgrind's XML."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.report = pathlib.Path(self.folder.name, "report")

    def tearDown(self):
        self.folder.cleanup()

    def run_case(self, *arguments, options=()):
        return run(*arguments, options=["--guard=valgrind", f"--report={self.report}", *options])

    def lines(self):
        return [json.loads(line) for line in self.report.read_text().splitlines()]

    def check_early(self, finding):
        self.assertEqual((finding["kind"], finding["severity"]), ("premature-access", "error"))
        self.assertRegex(finding["text"], r"^a load of byte 0 of MR lkey 0x\w+ \(4096 bytes at 0x\w+\), "
                                          r"which came by a SEND of the peer over QP 0x\w+; the completion")
        self.assertEqual(finding["stack"][0]["line"], line_of("EARLY"))
        self.assertEqual(finding["stack"][0]["function"], "look_early")
        self.assertEqual([origin["what"] for origin in finding["origins"]], ["registered here"])
        self.assertEqual(finding["origins"][0]["stack"][0]["function"], "register_buffer")

    def test_finding_of_a_forked_child(self):
        done = self.run_case("child-looks-early", options=["--check-exit=7"])
        self.assertEqual(done.returncode, 7, done.stderr)
        finding, summary = self.lines()
        self.check_early(finding)
        self.assertEqual(summary, {"pid": finding["pid"], "summary": True, "errors": 1, "hints": 0,
                                   "suppressed": 0})

    def test_finding_of_a_program_that_is_killed(self):
        done = self.run_case("looks-early-and-is-killed")
        self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
        self.check_early(self.lines()[0])
        self.assertIn("mrpool-check: error: premature-access: a load of byte 0", done.stderr)

    def test_suppressions(self):
        # A process substitution of the shell: it can be read once.
        for text, status in (("premature-access:look_early\n", 0), ("premature-access:other\n", 66)):
            self.report.write_text("")
            read, write = os.pipe()
            os.write(write, text.encode())
            os.close(write)
            command = [MRPOOL_RUN, "--check", "--guard=valgrind", f"--report={self.report}",
                       f"--suppressions=/dev/fd/{read}", CASES, "child-looks-early"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                                  pass_fds=[read])
            os.close(read)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(len(self.lines()), 1 if status == 0 else 2, done.stderr)

    def test_errors_of_others_are_valgrinds(self):
        done = self.run_case("writes-beyond")
        self.assertEqual(done.returncode, 66, done.stderr)
        self.assertEqual(self.report.read_text(), "")
        self.assertRegex(done.stderr, r"(?m)^==(\d+)== Invalid write of size 1\n"
                                      rf"==\1==    at 0x\w+: write_beyond \(checker_cases.c:{line_of('BEYOND')}\)\n")
        self.assertRegex(done.stderr, r"==  Address 0x\w+ is 0 bytes after a block of size 4,096 alloc'd\n")

    def test_exit_status_and_signals_are_the_programs(self):
        for word, status in (("exit 42", 42), ("kill -TERM $$", -signal.SIGTERM)):
            done = run("-c", word, options=["--guard=valgrind"], program="sh")
            self.assertEqual(done.returncode, status, done.stderr)

    def test_a_signal_is_passed_on(self):
        script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
        with subprocess.Popen([MRPOOL_RUN, "--check", "--guard=valgrind", "sh", "-c", script],
                              stdout=subprocess.PIPE, text=True) as started:
            self.assertEqual(started.stdout.readline(), "ready\n")
            started.terminate()
            self.assertEqual(started.stdout.readline(), "caught\n")
            self.assertEqual(started.wait(timeout=120), 3)

    def test_without_valgrind(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([MRPOOL_RUN, "--check", "--guard=valgrind", "/bin/true"], text=True,
                                  capture_output=True, timeout=60, check=False, env={"PATH": folder})
        self.assertEqual(done.returncode, 127)
        self.assertIn("mrpool-run: valgrind: No such file or directory", done.stderr)

    def test_its_folder_is_removed(self):
        with tempfile.TemporaryDirectory(prefix="100%p ") as folder:
            env = {**os.environ, "TMPDIR": folder}
            done = subprocess.run([MRPOOL_RUN, "--check", "--guard=valgrind", "sh", "-c", "true & true; true"],
                                  capture_output=True, text=True, timeout=120, check=False, env=env)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    CASES = sys.argv.pop(2)
    MRPOOL_RUN = sys.argv.pop(1)
    unittest.main()
