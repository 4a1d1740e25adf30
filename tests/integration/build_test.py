#!/usr/bin/env python3
"""The scripts that build can be run on one checkout in any order.

    tests/integration/build_test.py

Takes the command with which each script calls .ci/build, and configures one folder with it in every
order of two, without building. A target that the earlier script left out is an error then.
"""
import itertools
import pathlib
import re
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
    "tests/bench/run": ["--bench", "release", "count_syscalls", "pool_bench"],
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


if __name__ == "__main__":
    unittest.main()
