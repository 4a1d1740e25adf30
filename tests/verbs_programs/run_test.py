#!/usr/bin/env python3
"""mrpool-run as a user meets it: options, messages, exit status, signals.

    run_test.py MRPOOL_RUN
"""
import errno
import os
import signal
import subprocess
import sys
import tempfile
import unittest

MRPOOL_RUN = ""


def run(*arguments, **options):
    return subprocess.run([MRPOOL_RUN, *arguments], capture_output=True, text=True, timeout=60,
                          **options)


class Run(unittest.TestCase):
    def test_help_has_examples(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("Examples:", done.stdout)

    def test_version(self):
        self.assertRegex(run("--version").stdout, r"^mrpool-run \(mrpool\) \d+\.\d+\.\d+\n$")

    def test_wrong_usage(self):
        for arguments in ((), ("--nonsense", "true"), ("--ordering=loose", "true"),
                          ("--completions=soon", "true"), ("--identity=mine", "true"), ("--crc=maybe", "true"),
                          ("--stats",)):
            done = run(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("mrpool-run:", done.stderr)

    def test_exit_status_is_the_programs(self):
        self.assertEqual(run("sh", "-c", "exit 42").returncode, 42)
        self.assertEqual(run("--", "false").returncode, 1)

    def test_program_that_cannot_start(self):
        self.assertEqual(run("no-such-program-here").returncode, 127)
        self.assertEqual(run("/").returncode, 126)

    def test_signals_are_the_programs(self):
        self.assertEqual(run("sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)

    def test_other_preloaded_objects_stay(self):
        done = run("sh", "-c", "echo $LD_PRELOAD",
                   env={**os.environ, "LD_PRELOAD": "libm.so.6"})
        self.assertIn("libmrpool-verbs.so:libm.so.6", done.stdout)

    def test_device_list(self):
        self.assertIn("uiwarp0", run("ibv_devices").stdout)

    def test_options_of_the_checker_need_it(self):
        for option in ("--report=/dev/null", "--suppressions=/dev/null", "--guard=pages",
                       "--check-exit=1"):
            done = run(option, "true")
            self.assertEqual(done.returncode, 2, option)
            self.assertIn(f"{option.split('=')[0]} needs --check", done.stderr)
        for option in ("--report=/", "--suppressions=/"):
            self.assertEqual(run("--check", option, "true").returncode, 2, option)

    def test_suppressions_are_checked_before_the_program_starts(self):
        with tempfile.NamedTemporaryFile("w") as file:
            for text, complaint in (("leaked:main\nlaeked:main\n", "line 2: 'laeked:main' is not KIND:PATTERN"),
                                    ("leaked\n", "line 1: 'leaked' is not")):
                file.seek(0)
                file.truncate()
                file.write(text)
                file.flush()
                done = run("--check", f"--suppressions={file.name}", "echo", "started")
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertIn(complaint, done.stderr)
                self.assertIn(file.name, done.stderr)
        done = run("--check", "--suppressions=/no/such/file", "echo", "started")
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)

    def test_guard_that_does_not_work(self):
        for guard, why in (("asan", "was not built with -fsanitize=address"),):
            done = run("--check", f"--guard={guard}", "ibv_devinfo")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f"--guard={guard} does not work here: the program {why}", done.stderr)

    def test_device_file(self):
        def found(name, *options):
            """Whether a program may open that file of /dev/infiniband, by stat() and by access()."""
            path = f"/dev/infiniband/{name}"
            look = f"import os; print(os.path.exists({path!r}), os.access({path!r}, os.R_OK | os.W_OK))"
            return run(*options, sys.executable, "-c", look).stdout

        self.assertEqual(found("uverbs-mrpool"), "False False\n")
        self.assertEqual(found("uverbs-mrpool", "--device-file"), "True True\n")
        self.assertEqual(found("uverbs-other", "--device-file"), "False False\n")

    def test_device_file_of_no_name(self):
        look = "import ctypes; print(ctypes.CDLL(None, use_errno=True).access(None, 0), ctypes.get_errno())"
        done = run("--device-file", sys.executable, "-c", look)
        self.assertEqual(done.stdout, f"-1 {errno.EFAULT}\n", done.stderr)

    def test_ucx_finds_the_device(self):
        self.assertIn("rc_verbs", run("--device-file", "ucx_info", "-d").stdout)
        # Without UD QPs its upper layer fails with the device, and works without.
        self.assertNotIn("rc_verbs", run("ucx_info", "-d").stdout)

    def test_libfabric_finds_the_device(self):
        done = run("fi_info", "-p", "verbs", "-t", "FI_EP_MSG")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("domain: uiwarp0", done.stdout)
        self.assertIn("protocol: FI_PROTO_RDMA_CM_IB_RC", done.stdout)

    def test_iwarp_identity(self):
        said = run("--identity=iwarp", "ibv_devinfo", "-v").stdout
        self.assertRegex(said, r"transport:\s+iWARP")

    def test_device_info(self):
        done = run("ibv_devinfo", "-v")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("PORT_ACTIVE", done.stdout)
        self.assertIn("::ffff:127.0.0.1", done.stdout)


if __name__ == "__main__":
    MRPOOL_RUN = sys.argv.pop(1)
    unittest.main()
