#!/usr/bin/env python3
"""rdma-core's own tests (Debian's python3-pyverbs ships them) on uiwarp, by mrpool-run.

    pyverbs_test.py MRPOOL_RUN [MODULE...]

Runs every module that concerns RC QPs. pyverbs.txt lists the tests that do not pass, each with its
reason; one that fails or skips itself and is not listed is an error, and so is a listed one that
passes.
"""
import fnmatch
import gzip
import pathlib
import subprocess
import sys
import tempfile

TIME_LIMIT = 90  # of a module
HERE = pathlib.Path(__file__).parent
SHIPPED = pathlib.Path("/usr/share/doc/rdma-core/tests")
PYTHON = "/usr/bin/python3"  # Debian's, for which pyverbs is built
MODULES = """
addr atomic cq cq_events cqex device fork mr odp parent_domain pd qp qpex rdmacm relaxed_ordering
shared_pd
""".split()


def unpack(folder):
    """Makes the folder one from which the tests run; the package compresses what is large."""
    (folder / "tests").mkdir()
    for source in SHIPPED.iterdir():
        data = source.read_bytes()
        if source.suffix == ".gz":
            data = gzip.decompress(data)
        (folder / "tests" / source.name.removesuffix(".gz")).write_bytes(data)
    return folder


def shipped():
    """Whether the tests are here; where not, says so, and the status with which to end."""
    if SHIPPED.is_dir():
        return True, 0
    # Images of Debian without documentation lack what the package has there.
    excluded = any("path-exclude" in file.read_text()
                   for file in pathlib.Path("/etc/dpkg/dpkg.cfg.d").glob("*"))
    print(f"{'SKIP' if excluded else 'FAIL'} {SHIPPED} is missing; apt-get install python3-pyverbs"
          " with dpkg --path-include=/usr/share/doc/*")
    return False, 0 if excluded else 1


def ledger(name="pyverbs.txt"):
    """What that file lists: pattern → reason."""
    lines = (HERE / name).read_text().splitlines()
    rows = [line.split(": ", 1) for line in lines if line and not line.startswith("#")]
    return {pattern: reason for pattern, reason in rows}


def inner(folder, *arguments):
    return [PYTHON, str(HERE / "pyverbs_inner.py"), str(folder), *arguments]


def run(mrpool_run, folder, module):
    """The results of a module: (result, test, why), and what went wrong besides."""
    command = [mrpool_run, "--completions=acknowledged", *inner(folder, f"test_{module}")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT,
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as late:
        return [], f"timed out\n{late.stdout}"
    rows = [line.split("\t")[1:] for line in done.stdout.splitlines() if line.startswith("RESULT\t")]
    wrong = "" if done.returncode == 0 and rows else f"ended with {done.returncode}\n{done.stderr}"
    return rows, wrong


def judge(row, listed, used):
    """Empty when the ledger and the result agree."""
    result, test, why = row
    patterns = [pattern for pattern in listed if fnmatch.fnmatchcase(test, pattern)]
    used.update(patterns)
    if result == "ok":
        return f"passes, but pyverbs.txt lists it: {patterns[0]}" if patterns else ""
    return "" if patterns else f"{result}: {why}"


def main():
    mrpool_run, modules = sys.argv[1], sys.argv[2:] or MODULES
    here, status = shipped()
    if not here:
        return status
    listed = ledger()
    used = set()
    failures = 0
    passed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = unpack(pathlib.Path(name))
        for module in modules:
            rows, wrong = run(mrpool_run, folder, module)
            for row in rows:
                complaint = judge(row, listed, used)
                passed += row[0] == "ok"
                if complaint:
                    failures += 1
                    print(f"FAIL {row[1]}: {complaint}", flush=True)
            failures += bool(wrong)
            print(f"{'FAIL' if wrong else 'ran '} test_{module}: {len(rows)} tests {wrong}", flush=True)
    for pattern in listed:
        if pattern not in used and pattern.split(".")[0].removeprefix("test_") in modules:
            failures += 1
            print(f"FAIL {pattern}: pyverbs.txt lists it, but there is no such test")
    print(f"{passed} passed, {failures} against the ledger")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
