"""The tests that pages name exist.

A page names `Suite.Test`, `.Test` of the suite before it, a part of one that ends in "*" or "...",
`Suite.*`, or `test_...` of a Python test. Names of other projects' tests are in FOREIGN.
"""
import re

import pages
from source import ROOT

# Suites of libiscsi.
FOREIGN = {"CompareAndWrite", "Inquiry", "ModeSense6", "Read10", "Verify10", "Verify16", "Write10",
           "WriteSame16", "iSCSIResiduals"}
DECLARED = re.compile(r"\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)")
PYTHON = re.compile(r"^    def (test_\w+)", re.M)
SPAN = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"(?:\w+/)?([A-Z]\w+)\.([A-Z]\w+|\*)(\*|\.\.\.|…)?")


def declared(root):
    """({suite: {test}}, {Python test}) of the tests below `root`."""
    suites, python = {}, set()
    for path in root.rglob("*"):
        if path.suffix in (".cc", ".h"):
            for suite, test in DECLARED.findall(path.read_text()):
                suites.setdefault(suite, set()).add(test)
        elif path.suffix == ".py":
            python.update(PYTHON.findall(path.read_text()))
    return suites, python


def missing(text, suites, python):
    """The names of a page that no test has."""
    tests = {test for suite in suites.values() for test in suite}
    for span in SPAN.findall(text):
        full, short = NAME.fullmatch(span), re.fullmatch(r"\.([A-Z]\w+)", span)
        if full and full[1] not in FOREIGN:
            found = suites.get(full[1], set())
            if not (found if full[2] == "*" else any(each.startswith(full[2]) for each in found)):
                yield span
        elif short and short[1] not in tests:
            yield span
        for name in re.findall(r"\btest_\w+", span):
            if not name.endswith("_test") and "/" not in span and not any(
                    each.startswith(name) for each in python):
                yield name


def check(report):
    suites, python = declared(ROOT / "tests")
    for page in pages.pages():
        for name in missing(page.read_text(), suites, python):
            report(f"{page.relative_to(ROOT)}: names the test {name}, which does not exist")
