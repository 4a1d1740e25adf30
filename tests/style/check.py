#!/usr/bin/env python3
"""Style as a test: what a reviewer would otherwise have to remember.

    tests/style/check.py BUILD_DIR

Checks include directions (directions.py), the length of functions (functions.py), repeated code
(duplicates.py), unbuilt files, self-contained public headers, banned calls, skipped tests without a
ledger entry, and formatting. In the documentation it checks the language (prose.py) and

    links.py       links and the headings that they lead to
    names.py       files and symbols that a page names
    test_names.py  tests that it names
    options.py     options that it lists
    coverage.py    keys, methods and statistics that it has to name
    public_api.py  names of the public headers that it has to name
    excerpts.py    code that it quotes
    messages.py    messages that it explains

Prints one line for each finding and exits 1 when there is one.
"""
import json
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import coverage  # noqa: E402
import directions  # noqa: E402
import duplicates  # noqa: E402
import excerpts  # noqa: E402
import functions  # noqa: E402
import links  # noqa: E402
import messages  # noqa: E402
import names  # noqa: E402
import options  # noqa: E402
import prose  # noqa: E402
import public_api  # noqa: E402
import test_names  # noqa: E402
from source import ROOT, SOURCES, files, read_list, strip_comments  # noqa: E402

LIBRARY = ("include", "pool", "transport")
# Pattern, where it is banned, why.
BANNED = [
    (r"\b(TODO|FIXME|XXX|HACK)\b", SOURCES, "unfinished work belongs in an issue"),
    (r"\busing namespace\b", SOURCES, "pollutes every includer"),
    (r"\bstd::(cout|cerr|clog)\b|\bf?printf\(", LIBRARY,
     "the library does not write; it returns a status"),
    (r"\b(s?rand|s?random_r|drand48)\(", SOURCES, "randomness is injected and seeded"),
    (r"\b(strcpy|strcat|sprintf|gets|system|alloca)\(", SOURCES, "unsafe"),
    (r"\bstd::function\b", LIBRARY, "completions are intrusive"),
    (r"\bthrow\b|\btry\s*\{", LIBRARY, "nothing throws; see absl::Status"),
    (r"#define private\b", SOURCES, "tests see what the headers show"),
    (r"\bfor \([^;()]*[^:]:[^:;][^;()]*\(\)->", SOURCES,
     "GCC 12 does not keep the pointer that a call returned for the loop; name it first"),
]
# Where a banned pattern is right after all: (file, pattern fragment) → why.
EXCEPTIONS = {f"{file} {word}"
              for file, word in read_list(ROOT / "tests/style/exceptions.txt")}


def check_headers(report):
    for path in files(".h"):
        text = (ROOT / path).read_text()
        if not text.startswith("//"):
            report(f"{path}:1: a header opens with what it is, its thread safety and its ownership")
        if "#pragma once" not in text:
            report(f"{path}:1: no #pragma once")


def check_built(report, build):
    built = {
        pathlib.Path(entry["file"]).resolve()
        for entry in json.loads((build / "compile_commands.json").read_text())
    }
    for path in files(".cc"):
        if str(path).startswith(("tests/fuzz/", "tests/package/", "tests/bench/")):
            continue  # built by the fuzz preset, by their own test, where the peers are installed
        if (ROOT / path).resolve() not in built:
            report(f"{path}: no target builds it")


def check_banned(report):
    for path in files(".h", ".cc"):
        text = strip_comments((ROOT / path).read_text())
        for pattern, where, why in BANNED:
            if not str(path).startswith(where):
                continue
            for match in re.finditer(pattern, text):
                found = match.group().strip("( {")
                if f"{path} {found}" in EXCEPTIONS:
                    continue
                line = text.count("\n", 0, match.start()) + 1
                report(f"{path}:{line}: {found}: {why}")


def check_skips(report):
    ledger = (ROOT / "tests/style/skips.txt").read_text()
    for path in files(".cc"):
        text = strip_comments((ROOT / path).read_text())
        if re.search(r"GTEST_SKIP|\bDISABLED_", text) and str(path) not in ledger:
            report(f"{path}: skips a test and is not listed in tests/style/skips.txt")


# What the strictest of users compile with; our headers must not fill their logs.
STRICT = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-pedantic",
          "-Werror"]


def check_public_headers(report, build):
    commands = json.loads((build / "compile_commands.json").read_text())
    command = next(c["command"] for c in commands if c["file"].endswith("pool/access.cc"))
    flags = [f for f in command.split() if f.startswith(("-I", "-D", "-std"))]
    for header in sorted((ROOT / "include/mrpool").glob("*.h")):
        run = subprocess.run(
            ["g++", *flags, *STRICT, "-fsyntax-only", "-x", "c++", "-"],
            input=f'#include "mrpool/{header.name}"\n', text=True, capture_output=True, check=False)
        if run.returncode:
            why = next((line for line in run.stderr.splitlines() if "error:" in line), run.stderr)
            report(f"include/mrpool/{header.name}: does not compile by itself, warnings on: {why}")


def check_format(report):
    paths = [str(path) for path in files(".h", ".cc")]
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    for path in sorted({line.split(":")[0] for line in run.stderr.splitlines() if "error:" in line}):
        report(f"{path}: not as .clang-format has it: clang-format -i {path}")


def main():
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
        sys.exit(0)
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = pathlib.Path(sys.argv[1])
    findings = []
    directions.check(findings.append)
    functions.check(findings.append)
    duplicates.check(findings.append)
    check_headers(findings.append)
    check_built(findings.append, build)
    check_banned(findings.append)
    check_skips(findings.append)
    links.check(findings.append)
    prose.check(findings.append)
    test_names.check(findings.append)
    coverage.check(findings.append)
    public_api.check(findings.append)
    excerpts.check(findings.append)
    messages.check(findings.append)
    names.check(findings.append)
    check_public_headers(findings.append, build)
    check_format(findings.append)
    options.check(findings.append, build)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
