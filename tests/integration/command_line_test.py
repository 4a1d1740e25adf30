#!/usr/bin/env python3
"""Every program's command line, as its own --help lists it: --help, --version, completion, options
that are not there, and a bad value for each option that has a type.

What --help lists is what is tried, so an option that is added is tested by being declared.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN = pathlib.Path(os.environ.get("MRPOOL_BIN", "build/dev/bin"))
SOURCE = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r"project\(mrpool VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text())[1]
PROGRAMS = ("mrpool-nvmf-target", "mrpool-iser-target", "mrpool-nvmf", "mrpool-iser",
            "mrpool-audit", "hello_client", "hello_server", "mrpool_simulation")
SHELLS = ("bash", "zsh", "fish")
PATIENCE = 60

# For each type of value, by its placeholder: one that is wrong, and what the message must say.
WRONG = {
    "N": ("1x", "whole number"),
    "SIZE": ("12frogs", "write"),
    "TIME": ("soon", "write"),
    "USER:SECRET": ("hunter2", None),  # and is not shown
    "ADDRESS": ("nowhere", "uiwarp://"),
    "STORAGE": ("tape:1", "ram:64MiB"),
    "FILE": ("/no/such/folder/file", "No such file"),
    "DIR": (None, None),
    "NQN": ("disk", "nqn.20"),
    "IQN": ("disk", "iqn.20"),
    "TEXT": (None, None),
    "RULE": ("nonsense", "fast-bound"),
}
# Options whose value is wrong only together with others, so that these have to be there.
WITH = {
    "mrpool-nvmf-target": ["--listen", "uiwarp://127.0.0.1:0", "--subnqn", "nqn.2026-11.org.x:a",
                           "--namespace", "ram:1MiB", "--check-config"],
    "mrpool-iser-target": ["--listen", "uiwarp://127.0.0.1:0", "--target", "iqn.2026-11.org.x:a",
                           "--lun", "ram:1MiB", "--check-config"],
    "mrpool-nvmf": ["uiwarp://127.0.0.1:1"],
    "mrpool-iser": ["uiwarp://127.0.0.1:1"],
    "mrpool-audit": ["uiwarp://"],
    "hello_client": ["uiwarp://127.0.0.1:1"],
    "hello_server": ["uiwarp://127.0.0.1:0"],
    "mrpool_simulation": [],
}
# What the commands of the initiators need, but for those that look around.
NAMED = {"mrpool-nvmf": ["--subnqn", "nqn.2026-11.org.x:a"],
         "mrpool-iser": ["--target", "iqn.2026-11.org.x:a"]}


def run(*argv, **options):
    return subprocess.run([BIN / argv[0], *argv[1:]], capture_output=True, text=True,
                          timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL, **options)


def options_of(text):
    """[(option, placeholder)] that a help text lists."""
    return re.findall(r"^  (?:-\w, )?(--[\w-]+)(?: (\S+))?(?:  .*)?$", text, re.M)


def commands_of(program):
    """[[], ["perf"], ...]: the program itself and its commands."""
    text = run(program, "--help").stdout
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
    return [[]] + [[name] for name in re.findall(r"^  (\w+)", listed[1], re.M)] if listed else [[]]


def each_command():
    for program in PROGRAMS:
        for command in commands_of(program):
            yield program, command


class CommandLines(unittest.TestCase):
    def refused(self, *argv):
        process = run(*argv)
        self.assertEqual(process.returncode, 2, (argv, process.stderr))
        self.assertEqual(process.stdout, "", argv)
        self.assertTrue(process.stderr.startswith(f"{argv[0]}: "), process.stderr)
        return process.stderr

    def test_help(self):
        for program, command in each_command():
            process = run(program, *command, "--help")
            self.assertEqual((process.returncode, process.stderr), (0, ""), program)
            usage = " ".join([program, *command])
            self.assertTrue(process.stdout.startswith(f"Usage: {usage} "), process.stdout)
            for line in process.stdout.splitlines():
                self.assertLessEqual(len(line), 100, line)
        for program in PROGRAMS:
            self.assertIn("--version", run(program, "-h").stdout)

    def test_version_is_that_of_the_project(self):
        for program in PROGRAMS:
            self.assertEqual(run(program, "--version").stdout, f"{program} (mrpool) {VERSION}\n")

    def test_options_that_are_not_there(self):
        for program, command in each_command():
            message = self.refused(program, *command, "--frobnicate", "1")
            self.assertIn("'--frobnicate'; see --help", message)
            self.assertIn("'-z'", self.refused(program, *command, "-z"))

    def test_the_nearest_option_is_named(self):
        self.assertIn("is --iodepth meant?", self.refused("mrpool-nvmf", "perf", "--iodept", "1"))
        self.assertIn("is --lun meant?", self.refused("mrpool-iser-target", "--lum=ram:1MiB"))

    def test_options_without_the_value_they_need(self):
        for program, command in each_command():
            for option, placeholder in options_of(run(program, *command, "--help").stdout):
                if placeholder:
                    message = self.refused(program, *command, option)
                    self.assertIn(f"{option} needs a value: {option} {placeholder}", message)
                elif option not in ("--help", "--help-all", "--version"):
                    message = self.refused(program, *command, f"{option}=7")
                    self.assertIn(f"{option} takes no value", message)

    def test_a_bad_value_of_every_type(self):
        tried = 0
        for program, command in each_command():
            for option, placeholder in options_of(run(program, *command, "--help").stdout):
                with self.subTest(program=program, command=command, option=option):
                    tried += self.try_bad_value(program, command, option, placeholder)
        self.assertGreater(tried, 100)

    def try_bad_value(self, program, command, option, placeholder):
        if not placeholder:
            return 0
        if "|" in placeholder and not placeholder.startswith("TIME"):
            bad, fix = "no-such-choice", placeholder.split("|")[0]
        else:
            self.assertIn(placeholder.split("|")[0], WRONG, "a type this test does not know")
            bad, fix = WRONG[placeholder.split("|")[0]]
        if bad is None:
            return 0
        message = self.refused(program, *command, *self.others(program, command, option), option,
                               bad)
        if placeholder == "USER:SECRET":
            self.assertIn(option, message)
            self.assertNotIn(bad, message)
        else:
            self.assertIn(bad, message)
            self.assertIn(fix, message)
        return 1

    def others(self, program, command, option):
        """What has to be there for the value of `option` to be the only thing that is wrong."""
        if option == "--config":
            return ["--check-config"]
        if program == "mrpool-nvmf-target" and option == "--subnqn":
            return [word for word in WITH[program] if word != option and "nqn" not in word]
        if program in ("mrpool-nvmf", "mrpool-iser"):
            if not command:
                return []
            if command[0] not in ("discover", "ls") and option not in ("--subnqn", "--target"):
                return WITH[program] + NAMED[program]
        return WITH[program]

    def test_a_configuration_is_checked_and_nothing_opened(self):
        for program in ("mrpool-nvmf-target", "mrpool-iser-target"):
            with tempfile.TemporaryDirectory() as folder:
                disk = pathlib.Path(folder, "disk")
                spec = f"file:{disk},size=1MiB,bs=512"
                option = "--namespace" if "nvmf" in program else "--lun"
                process = run(program, *WITH[program], option, spec)
                self.assertEqual((process.returncode, process.stderr), (0, ""))
                lines = process.stdout.splitlines()
                self.assertEqual(lines[0], "would listen on uiwarp://127.0.0.1:0")
                self.assertIn(f": {spec}, blocks of 512 bytes", lines[2])
                self.assertFalse(disk.exists())

    def test_completions(self):
        for program, command in each_command():
            for shell in SHELLS:
                script = run(program, "--completion", shell).stdout
                for option, placeholder in options_of(run(program, *command, "--help").stdout):
                    self.assertIn(option[2:], script)
                if shutil.which(shell):
                    process = subprocess.run([shell, "-n"], input=script, text=True, check=False,
                                             capture_output=True, timeout=PATIENCE)
                    self.assertEqual((process.returncode, process.stderr), (0, ""))

    def completed(self, *words):
        """What bash offers for the last word."""
        function = "_" + words[0].replace("-", "_")
        line = " ".join(f"'{word}'" for word in words)
        script = (f"eval \"$('{BIN.resolve() / words[0]}' --completion bash)\"; COMP_WORDS=({line})"
                  f"; COMP_CWORD={len(words) - 1}; {function}; echo \"${{COMPREPLY[*]}}\"")
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "disk.img").touch()
            process = subprocess.run(["bash", "-uc", script], capture_output=True, text=True,
                                     cwd=folder, timeout=PATIENCE, check=False)
        self.assertEqual((process.returncode, process.stderr), (0, ""))
        return process.stdout.split()

    def test_bash_completes(self):
        self.assertEqual(self.completed("mrpool-nvmf", "p"), ["perf"])
        self.assertEqual(self.completed("mrpool-nvmf", "perf", "--iod"), ["--iodepth"])
        self.assertEqual(self.completed("mrpool-nvmf", "perf", "--rw", "randr"),
                         ["randread", "randrw"])
        self.assertEqual(self.completed("mrpool-nvmf", "perf", "--rw", "=", "w"), ["write"])
        self.assertEqual(self.completed("mrpool-nvmf", "write", "--input", "d"), ["disk.img"])
        self.assertEqual(self.completed("mrpool-iser-target", "--conf"), ["--config"])
        self.assertEqual(self.completed("mrpool-iser-target", "--config", "d"), ["disk.img"])
        self.assertEqual(self.completed("mrpool-iser-target", "--completion", "z"), ["zsh"])
        self.assertEqual(self.completed("mrpool-audit", "--output-format", "j"), ["json"])


if __name__ == "__main__":
    if not (BIN / PROGRAMS[0]).exists():
        sys.exit(f"no programs in {BIN}; build them, or say with MRPOOL_BIN where they are")
    unittest.main()
