#!/usr/bin/env python3
"""Every program's command line, as its own --help lists it: --help, --version, completion, options
that are not there, and a bad value for each option that has a type.

What --help lists is what is tried, so an option that is added is tested by being declared.
"""
import base64
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

BIN = pathlib.Path(os.environ.get("MRPOOL_BIN", "build/dev/bin"))
SOURCE = pathlib.Path(__file__).resolve().parents[2]
VERSION = re.search(r'#define MRPOOL_VERSION_STRING "(.*)"',
                    (SOURCE / "include/mrpool/version.h").read_text())[1]
PROGRAMS = ("mrpool-nvmf-target", "mrpool-iser-target", "mrpool-nvmf", "mrpool-iser",
            "mrpool-audit", "mrpool-ctl", "hello_client", "hello_server", "mrpool_simulation")
# Where it was built: the presets of the sanitizers leave it out.
PROGRAMS += tuple(name for name in ("mrpool-run",) if (BIN / name).exists())
SHELLS = ("bash", "zsh", "fish")
PATIENCE = 60

# For each type of value, by its placeholder: one that is wrong, and what the message must say.
WRONG = {
    "N": ("1x", "whole number"),
    "SIZE": ("12frogs", "write"),
    "TIME": ("soon", "write"),
    "USER:SECRET": ("hunter2", None),  # and is not shown
    "ADDRESS": ("nowhere", "uiwarp://"),
    "HOST:PORT": ("nowhere", "127.0.0.1:9464"),
    "STORAGE": ("tape:1", "ram:64MiB"),
    "OBJECT": ("tape:1", "rbd:POOL/OBJECT"),
    "FILE": ("/no/such/folder/file", "No such file"),
    "DIR": (None, None),
    "PATH": ("x" * 200, "shorter"),  # of a socket
    "NAME[:GROUP]": ("no-such-user", "adduser"),
    "NQN": ("disk", "nqn.20"),
    "IQN": ("disk", "iqn.20"),
    "TEXT": (None, None),
    "JSON": (None, None),
    "RULE": ("nonsense", "fast-bound"),
    "NAME": ("nonsense", "is none of"),  # one of many
    "STATE": ("nonsense", "use optimized"),
}
# A DH-HMAC-CHAP secret that is right, in a file that only its owner can read.
KEY = bytes(range(32))
SECRET = tempfile.NamedTemporaryFile(mode="w", prefix="mrpool-secret.")
SECRET.write("DHHC-1:00:" + base64.b64encode(KEY + struct.pack("<I", zlib.crc32(KEY))).decode() + ":\n")
SECRET.flush()
# Options whose value is wrong only together with others, so that these have to be there.
WITH = {
    "mrpool-run": [],
    "mrpool-nvmf-target": ["--listen", "uiwarp://127.0.0.1:0", "--subnqn", "nqn.2026-11.org.x:a",
                           "--namespace", "ram:1MiB", "--check-config"],
    "mrpool-iser-target": ["--listen", "uiwarp://127.0.0.1:0", "--target", "iqn.2026-11.org.x:a",
                           "--lun", "ram:1MiB", "--check-config"],
    "mrpool-nvmf": ["uiwarp://127.0.0.1:1"],
    "mrpool-iser": ["uiwarp://127.0.0.1:1"],
    "mrpool-audit": ["uiwarp://"],
    "mrpool-ctl": [],
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
    return [[]] + [[name] for name in re.findall(r"^  ([\w-]+)", listed[1], re.M)] if listed else [[]]


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
        if not placeholder or (program, option) == ("mrpool-ctl", "--socket"):  # ctl_test.py has it
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
        if program == "mrpool-nvmf-target" and option.startswith("--dhchap"):
            key = ["--dhchap-key", SECRET.name] if option == "--dhchap-ctrlr-key" else []
            return [*WITH[program], "--host-nqn", "nqn.2026-11.org.x:host", *key]
        if program == "mrpool-nvmf" and option == "--dhchap-ctrl-secret":
            named = [] if command[0] == "discover" else NAMED[program]
            return [*WITH[program], *named, "--dhchap-secret", SECRET.name]
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
                self.assertEqual(lines[1], f"would create {disk} with 1MiB")
                self.assertIn(f": {spec}, blocks of 512 bytes", lines[3])
                # Who is not named is admitted, and the check says so.
                self.assertRegex(lines[-1], r"^would admit to .*: any ")
                self.assertFalse(disk.exists())
                disk.write_bytes(bytes(1000))
                process = run(program, *WITH[program], option, f"file:{disk},bs=512")
                self.assertEqual(process.returncode, 2)
                self.assertIn("1000 bytes is not a whole number of 512-byte blocks; make it 1024",
                              process.stderr)

    def test_what_a_start_refuses_the_check_refuses(self):
        """In the same words, and nothing is made or opened for it."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            disk, missing = folder / "disk", folder / "missing"
            disk.write_bytes(bytes(8 << 20))
            for spec, why in ((f"file:{disk},size=1MiB", "has 8MiB, more than size=1MiB; write size=8MiB or leave size= out"),
                              (f"file:{disk},ro,size=16MiB", "cannot extend it"),
                              (f"file:{missing}", "does not exist"),
                              (f"file:{missing},ro,size=1MiB", "does not exist"),
                              (f"file:{folder}", "is a directory"),
                              ("file:/dev/null", "neither a regular file nor a block device"),
                              (f"file:{missing}/deep,size=1MiB", "no file can be created here"),
                              ("ram:0", "write ram:64MiB"), ("ram:1MiB,bs=1024", "write bs=512 or bs=4096"),
                              ("ram:1000", "is not a whole number")):
                for program in ("mrpool-nvmf-target", "mrpool-iser-target"):
                    option = "--namespace" if "nvmf" in program else "--lun"
                    served = [*WITH[program][:4], option, spec]
                    check = self.refused(program, *served, "--check-config")
                    self.assertIn(why, check)
                    start = run(program, *served)
                    self.assertIn(start.returncode, (1, 2), (spec, start.stderr))
                    if "deep" not in spec:
                        self.assertEqual(check, start.stderr)
            for program in ("mrpool-nvmf-target", "mrpool-iser-target"):
                option = "--namespace" if "nvmf" in program else "--lun"
                twice = self.refused(program, *WITH[program], option, f"file:{disk}", option,
                                     f"file:{folder}/./disk")
                self.assertIn("serve it once", twice)
            self.assertEqual(os.listdir(folder), ["disk"])
        for program in ("mrpool-nvmf-target", "mrpool-iser-target"):
            words = [word.replace("uiwarp://127.0.0.1:0", "tcp://127.0.0.1:1")
                     for word in WITH[program]]
            self.assertIn("tcp://127.0.0.1:1", self.refused(program, *words))
            self.assertIn("no such directory", self.refused(program, *WITH[program], "--state-dir",
                                                            "/no/where"))

    def test_options_of_a_store_list_those_of_its_place(self):
        for program, option, there in (("mrpool-nvmf-target", "--namespace", "nsid=N, uuid=UUID"),
                                       ("mrpool-iser-target", "--lun", "lun=N, serial=TEXT")):
            self.assertIn(there, self.refused(program, *WITH[program], option, "ram:1MiB,colour=red"))
        self.assertIn("lun=N", self.refused("mrpool-iser-target", *WITH["mrpool-iser-target"],
                                            "--lun", "ram:1MiB,nsid=1"))

    def test_memory_that_the_machine_does_not_have_is_named(self):
        for program in ("mrpool-nvmf-target", "mrpool-iser-target"):
            option = "--namespace" if "nvmf" in program else "--lun"
            process = run(program, *WITH[program], option, "ram:1000TiB")
            self.assertEqual(process.returncode, 0, process.stderr)
            self.assertRegex(process.stderr, r"memory may need 1000TiB, and this machine has [0-9.]+[GM]iB")

    def test_addresses_without_a_port_have_the_protocols(self):
        for program, port in (("mrpool-nvmf-target", 4420), ("mrpool-iser-target", 3260)):
            words = [word.replace("127.0.0.1:0", "127.0.0.1?crc=on") for word in WITH[program]]
            more = ["--listen", "uiwarp://[::1]", "--listen", "uiwarp://127.0.0.1:0", "--listen",
                    "uiwarp://127.0.0.1:0"]
            process = run(program, *words, *more)
            self.assertEqual((process.returncode, process.stderr), (0, ""))
            self.assertEqual(process.stdout.splitlines()[:4], [
                f"would listen on uiwarp://127.0.0.1:{port}?crc=on",
                f"would listen on uiwarp://[::1]:{port}", "would listen on uiwarp://127.0.0.1:0",
                "would listen on uiwarp://127.0.0.1:0"])
            self.assertIn("configured twice", self.refused(
                program, *WITH[program], "--listen", "uiwarp://[::1]", "--listen",
                f"uiwarp://[::1]:{port}"))

    def test_what_is_served_stands_in_one_place(self):
        for program, options in (
                ("mrpool-nvmf-target", (["--listen", "uiwarp://127.0.0.1:0"],
                                        ["--subnqn", "nqn.2026-11.org.x:a"],
                                        ["--namespace", "ram:1MiB"], ["--no-traffic-keep-alive"],
                                        ["--host-nqn", "nqn.2026-11.org.x:h"])),
                ("mrpool-iser-target", (["--listen", "uiwarp://127.0.0.1:0"],
                                        ["--target", "iqn.2026-11.org.x:a"]))):
            for option in options:
                message = self.refused(program, "--config", "/no/matter", *option)
                self.assertIn(f"--config and {option[0]} exclude each other", message)
        for program, option in (("mrpool-nvmf-target", "--threads"), ("mrpool-iser", "--timeout"),
                                ("mrpool-nvmf", "--bs"), ("mrpool-audit", "--output-format")):
            command = {"mrpool-iser": ["perf"], "mrpool-nvmf": ["perf"]}.get(program, [])
            value = "table" if option == "--output-format" else "4096"
            self.assertIn(f"{option} is given more than once", self.refused(
                program, *command, option, value, option, value))
        self.assertIn("--chap: is given more than once", self.refused(
            "mrpool-iser-target", *WITH["mrpool-iser-target"], "--chap", "u:a long secret 1",
            "--chap", "u:a long secret 2"))

    def test_names_have_a_date(self):
        for program, option, bad in (("mrpool-nvmf-target", "--subnqn", "nqn.2026-13.org.x:a"),
                                     ("mrpool-nvmf-target", "--host-nqn", "nqn.2026-00.org.x:a"),
                                     ("mrpool-iser-target", "--target", "iqn.2026-1"),
                                     ("mrpool-iser-target", "--initiator", "iqn.2026-13.org.x:a"),
                                     ("mrpool-iser-target", "--initiator", "naa.50x")):
            words = [word for word in WITH[program]]
            if option in words:
                words[words.index(option) + 1] = bad
            else:
                words += [option, bad]
            message = self.refused(program, *words)
            self.assertIn(bad, message)
            self.assertIn("n.2026-11.org.example" if "iser" in program else "qn.20", message)
        for program, named in (("mrpool-nvmf", ["--subnqn", "nqn.2026-13.org.x:a"]),
                               ("mrpool-iser", ["--target", "iqn.2026-13.org.x:a"])):
            self.assertIn(named[1], self.refused(program, "perf", "uiwarp://127.0.0.1:1", *named))

    def check_file(self, program, text, ends_with=0):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(text)
            file.flush()
            process = run(program, "--check-config", "--config", file.name)
        self.assertEqual(process.returncode, ends_with, process.stderr)
        return process.stderr

    FILES = {"mrpool-nvmf-target": """{"listen": ["uiwarp://127.0.0.1:0"], %s
        "subsystems": [{"nqn": "nqn.2026-11.org.x:a", "namespaces": [%s]}]}""",
             "mrpool-iser-target": """{"listen": ["uiwarp://127.0.0.1:0"], %s
        "targets": [{"name": "iqn.2026-11.org.x:a", "luns": [%s]}]}"""}

    def test_files_take_what_the_command_line_takes(self):
        for program, text in self.FILES.items():
            store = '{"storage": "ram:1MiB"}'
            self.check_file(program, text % ("", "") , 2)  # nothing to serve
            good = ['"staging": "64M", "spin": "forever", "stall_timeout": "2m"',
                    '"staging": 67108864, "spin": "500us", "stall_timeout": 120, "stop_timeout": 1.5']
            if "nvmf" in program:
                good += ['"in_capsule": "8KiB"', '"in_capsule": 8192']
            for keys in good:
                self.check_file(program, text % (keys + ",", store))
            for keys, why in (('"threads": 257', "threads must be a whole number from 1 to 256"),
                              ('"stop_timeout": 3601', "stop_timeout: '3601' is not a duration from"),
                              ('"staging": "12frogs"', "staging: '12frogs' is not a size"),
                              ('"spin": true', "spin must be a duration")):
                message = self.check_file(program, text % (keys + ",", store), 2)
                self.assertIn(why, message)
                self.assertIn("line 1: ", message)
        self.assertIn("lun must be a whole number from 0 to 16383", self.check_file(
            "mrpool-iser-target",
            self.FILES["mrpool-iser-target"] % ("", '{"storage": "ram:1MiB", "lun": 16384}'), 2))

    def test_mistakes_in_files_have_file_line_and_fix(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "daemon.json")
            for program, text in self.FILES.items():
                good = text % ("", '{"storage": "ram:1MiB"}')
                nvmf = "nvmf" in program
                name, members = ("nqn", "subsystems") if nvmf else ("iqn", "targets")
                for content, line, fix in (
                        ("[]", "", "one JSON object"), ("{", "line 1", "not JSON"),
                        (good.replace("uiwarp://", "uiwarp:"), "line 1: listen[0]: ", "uiwarp://127"),
                        ('{"listen": ["uiwarp://:0"]}', "", f'write "{members}": [{{"'),
                        (good.replace("x:a", "x a"), "line 2: ", f"write {name}."),
                        (good.replace("ram:1MiB", "ram:0"), "line 2: ", "write ram:64MiB"),
                        (good.replace('"}', '", "block_size": 1024}'), "line 2: ", "512"),
                        (good.replace("{", '{"in_capsule": 100,' if nvmf else '{"block_size": 1024,', 1),
                         "line 1: ", "write 96 or 112" if nvmf else "neither 512 nor 4096")):
                    path.write_text(content)
                    message = self.refused(program, "--config", path, "--check-config")
                    self.assertTrue(message.startswith(f"{program}: {path}: {line}") or "[]" == content
                                    or "{" == content, message)
                    self.assertIn(str(path), message)
                    self.assertIn(fix, message)

    def test_an_empty_list_admits_nobody(self):
        for program, config, nobody in (
                ("mrpool-nvmf-target",
                 {"subsystems": [{"nqn": "nqn.2024-01.org.example:a", "hosts": [],
                                  "namespaces": [{"storage": "ram:1MiB"}]}]}, "no host"),
                ("mrpool-iser-target",
                 {"targets": [{"name": "iqn.2024-01.org.example:a", "initiators": [],
                               "luns": ["ram:1MiB"]}]}, "no initiator")):
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump({"listen": ["uiwarp://127.0.0.1:0"], **config}, file)
                file.flush()
                process = run(program, "--check-config", "--config", file.name)
            self.assertEqual((process.returncode, process.stderr), (0, ""))
            self.assertRegex(process.stdout, rf"would admit to \S+:a: {nobody} \(")

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
        if "mrpool-run" in PROGRAMS:
            self.assertEqual(self.completed("mrpool-run", "--st"), ["--stats"])
            self.assertIn("bash", self.completed("mrpool-run", "--stats", "bas"))


if __name__ == "__main__":
    missing = [name for name in PROGRAMS if not (BIN / name).exists()]
    if missing:
        sys.exit(f"not in {BIN}: {', '.join(missing)}; build them, or name the folder in MRPOOL_BIN")
    unittest.main()
