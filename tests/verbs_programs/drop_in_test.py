#!/usr/bin/env python3
"""libibverbs.so.1 and librdmacm.so.1 of lib/drop-in, found by LD_LIBRARY_PATH alone, and by programs
that open them by dlopen(), also under mrpool-run.

    drop_in_test.py MRPOOL_RUN
"""
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
import programs_test  # noqa: E402
from programs_test import Pair  # noqa: E402

HERE = pathlib.Path(__file__).parent
LIBRARIES = ("libibverbs.so.1", "librdmacm.so.1")
MRPOOL_RUN = ""
FOLDER = pathlib.Path()


def output_of(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, timeout=60, check=False, **options)
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def ways():
    """What comes before a program's command line, in each of the ways."""
    return {"LD_LIBRARY_PATH": ["env", f"LD_LIBRARY_PATH={FOLDER}"], "mrpool-run": [MRPOOL_RUN]}


def system_library(name):
    """rdma-core's, as a program finds it."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("LD_")}
    found = re.search(rf"{re.escape(name)} => (\S+)", output_of("ldd", "/usr/bin/rping", env=plain))
    return pathlib.Path(found[1]).resolve()


def exported(path):
    """{(name, version)} of an object's functions, in their default versions."""
    lines = output_of("nm", "-D", "--defined-only", path).splitlines()
    return {tuple(each[2].split("@@")) for each in map(str.split, lines)
            if each[1] in "TW" and "@@" in each[2]}


def symbols(name):
    """Lines NAME VERSION OBJECT for each function of rdma-core's library."""
    provider, system = (FOLDER.parent / "libmrpool-verbs.so").resolve(), system_library(name)
    ours = exported(provider)
    return [f"{symbol} {version} {provider if (symbol, version) in ours else system}\n"
            for symbol, version in sorted(exported(system))]


class DropIn(unittest.TestCase):
    def expect_pair(self, way, pair):
        self.assertEqual(programs_test.run(way, pair), "", pair.name)

    def test_devices(self):
        self.assertIn("uiwarp0", output_of("ibv_devices", env={**os.environ, "LD_LIBRARY_PATH": FOLDER}))

    def test_programs(self):
        way = ways()["LD_LIBRARY_PATH"]
        self.expect_pair(way, Pair("ibv_rc_pingpong", "ibv_rc_pingpong -p PORT",
                                   "ibv_rc_pingpong -p PORT 127.0.0.1"))
        self.expect_pair(way, Pair("rping", "rping -s -a 127.0.0.1 -p PORT -C 10",
                                   "rping -c -a 127.0.0.1 -p PORT -C 10"))

    def test_symbols_of_a_handle(self):
        for name in LIBRARIES:
            wanted = symbols(name)
            self.assertGreater(len(wanted), 60, name)
            for way, command in ways().items():
                with self.subTest(library=name, way=way):
                    said = output_of(*command, sys.executable, HERE / "dlopen_inner.py", name,
                                     input="".join(wanted))
                    self.assertEqual(said, "uiwarp0\nuiwarp0\n")

    def test_name_without_version(self):
        for way, command in ways().items():
            with self.subTest(way=way):
                said = output_of(*command, sys.executable, HERE / "dlopen_inner.py", "libibverbs.so",
                                 input="")
                self.assertEqual(said, "uiwarp0\nuiwarp0\n")

    def test_other_folders_stay(self):
        said = output_of(MRPOOL_RUN, "sh", "-c", "echo $LD_LIBRARY_PATH",
                         env={**os.environ, "LD_LIBRARY_PATH": "/nowhere"})
        self.assertEqual(said, f"{FOLDER}:/nowhere\n")


if __name__ == "__main__":
    MRPOOL_RUN = sys.argv.pop(1)
    FOLDER = pathlib.Path(MRPOOL_RUN).resolve().parent.parent / "lib/drop-in"
    unittest.main()
