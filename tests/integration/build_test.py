#!/usr/bin/env python3
"""The scripts that build can be run on one checkout in any order, and tests/run reports what it did.

    tests/integration/build_test.py [AnyOrder | BenchmarkPackages | Summary]

AnyOrder takes the command with which each script calls .ci/build, and configures one folder with it
in every order of two, without building. A target that the earlier script left out is an error then.
BenchmarkPackages asks tests/bench/run for what a machine without packages misses.
Summary runs tests/run with a build and a ctest that only print.
"""
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Script → what it builds in the release preset.
COMMANDS = {
    "examples/demo": ["release", "mrpool-nvmf-target", "mrpool-nvmf"],
    "tests/run": ["--tests", "release", "mrpool_programs", "threaded_tests", "hot_paths",
                  "mrpool_simulation"],
    "tests/sim/run": ["--tests", "release", "mrpool_simulation"],
    "tests/bench/run": ["--bench", "release", "count_syscalls", "pool_bench",
                        "mrpool-run", "uiwarp_bench"],
}


def installed(package):
    return subprocess.run(["dpkg-query", "-W", package], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


class AnyOrder(unittest.TestCase):
    def test_the_scripts_build_through_one_place(self):
        for script, command in COMMANDS.items():
            text = (ROOT / script).read_text()
            self.assertNotRegex(text, r"cmake.{0,8}--(preset|build)", script)
            options = [word for word in command[:2] if word.startswith("--")] + ["release"]
            self.assertRegex(re.sub(r'["\',\s\\]+', " ", text), ".ci/build " + " ".join(options))

    def test_one_after_the_other(self):
        commands = dict(COMMANDS)
        if not installed("libbenchmark-dev"):
            del commands["tests/bench/run"]  # its configuration asks for the package
        for order in itertools.permutations(commands, 2):
            with self.subTest(order=order), tempfile.TemporaryDirectory() as folder:
                for script in order:
                    run = subprocess.run(
                        [ROOT / ".ci/build", "--dry-run", "--dir", folder, *commands[script]],
                        capture_output=True, text=True, check=False)
                    self.assertEqual(run.returncode, 0, f"{script}:\n{run.stdout[-2000:]}"
                                                        f"{run.stderr[-2000:]}")

    def test_what_is_wrong_is_reported(self):
        for arguments, message in (
                (["--bogus"], "unknown option '--bogus'"),
                ([], "which preset?")):
            run = subprocess.run([ROOT / ".ci/build", *arguments], capture_output=True, text=True,
                                 check=False)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(message, run.stderr)

    def test_a_build_that_nobody_watches_prints_its_count(self):
        with tempfile.TemporaryDirectory() as folder:
            run = subprocess.run([ROOT / ".ci/build", "--dry-run", "--dir", folder, "release",
                                  "mrpool"], capture_output=True, text=True, check=True)
        self.assertRegex(run.stdout, r"^\[ \d+/\d+ \] \d+ s\n$")


class BenchmarkPackages(unittest.TestCase):
    def missing(self, *groups):
        """What `tests/bench/run --no-install` asks for on a machine that has nothing."""
        with tempfile.TemporaryDirectory() as folder:
            nothing = pathlib.Path(folder, "dpkg-query")
            nothing.write_text("#!/bin/sh\nexit 1\n")
            nothing.chmod(0o755)
            env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            done = subprocess.run([ROOT / "tests/bench/run", "--no-install", *groups], env=env,
                                  capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        line = next(line for line in done.stderr.splitlines() if line.startswith("missing packages: "))
        return set(line.split()[2:])

    def test_only_those_of_the_groups_are_asked_for(self):
        tcp, verbs, every = self.missing("tcp"), self.missing("verbs"), self.missing()
        self.assertIn("libbenchmark-dev", tcp)
        self.assertEqual(verbs - tcp, {"fio", "perftest", "ucx-utils"})
        self.assertTrue(every > verbs)
        self.assertIn("libtbb-dev", every)


class Summary(unittest.TestCase):
    def run_with(self, ctest_output, ctest_status=0, build_status=0):
        """tests/run --fast in a copy of the tree that has nothing but scripts that print."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for script, body in ((".ci/install", "true"),
                                 (".ci/build", f"echo '[ 412/412 ] 95 s'; exit {build_status}"),
                                 ("bin/ctest", f"echo '{ctest_output}'; exit {ctest_status}")):
                path = root / script
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"#!/bin/sh\n{body}\n")
                path.chmod(0o755)
            (root / "tests").mkdir()
            shutil.copy(ROOT / "tests/run", root / "tests/run")
            path = f"{root}/bin:{os.environ['PATH']}"
            run = subprocess.run([root / "tests/run", "--fast"], capture_output=True, text=True,
                                 env={**os.environ, "PATH": path}, check=False)
        return run.returncode, run.stdout.splitlines()

    def test_each_stage_and_a_closing_line(self):
        status, lines = self.run_with("100% tests passed, 0 tests failed out of 312")
        self.assertEqual(status, 0)
        self.assertEqual(lines[-1], "100% tests passed, 0 tests failed out of 312")
        self.assertRegex("\n".join(lines[-4:]),
                         r"build dev +412 steps\n.*quick tests +312 tests, 0 failed")

    def test_a_failed_test_is_counted(self):
        status, lines = self.run_with("99% tests passed, 3 tests failed out of 312", ctest_status=8)
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "99% tests passed, 3 tests failed out of 312")
        self.assertIn("FAILED: 312 tests, 3 failed", lines[-2])

    def test_a_failed_build_is_no_success(self):
        status, lines = self.run_with("not reached", build_status=1)
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], "0% tests passed, 1 tests failed out of 1")
        self.assertIn("FAILED", lines[-2])
        self.assertNotIn("not reached", "\n".join(lines))


if __name__ == "__main__":
    unittest.main()
