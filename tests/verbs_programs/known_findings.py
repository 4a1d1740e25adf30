"""What the checker of mrpool-run is known to find in programs, from a file of lines

    NAME FINDING: reason

NAME is a test or a program with its options, and may hold * and [...] as file names do. FINDING is a
kind of docs/operate/checker.md, or "fails" where it does not end well under the checker; with "?" after it, it
depends on when things happen. For the tests that compare such a list with a run.
"""
import dataclasses
import fnmatch
import json

FAILS = "fails"


@dataclasses.dataclass
class Entry:
    pattern: str
    finding: str
    optional: bool
    reason: str

    def concerns(self, name):
        return fnmatch.fnmatchcase(name, self.pattern)


class Ledger:
    def __init__(self, path):
        self.path = path
        self.entries = list(map(self.parse, self.lines()))

    def lines(self):
        lines = self.path.read_text().splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    @staticmethod
    def parse(line):
        head, reason = line.split(": ", 1)
        pattern, finding = head.rsplit(" ", 1)
        return Entry(pattern, finding.removesuffix("?"), finding.endswith("?"), reason)

    def judge(self, name, found):
        """Empty when the list and the run agree, else what differs."""
        expected = [entry for entry in self.entries if entry.concerns(name)]
        unknown = found - {entry.finding for entry in expected}
        missing = {entry.finding for entry in expected if not entry.optional} - found
        return "; ".join([f"{finding}: {self.path.name} does not list it" for finding in sorted(unknown)]
                         + [f"no {finding}, but {self.path.name} lists it" for finding in sorted(missing)])

    def stale(self, names):
        """The entries that concern none of the names."""
        return [entry for entry in self.entries if not any(map(entry.concerns, names))]


def found_in(report):
    """The kinds of findings in what --report wrote, by all processes."""
    lines = report.read_text().splitlines() if report.exists() else []
    return {finding["kind"] for finding in map(json.loads, lines) if "kind" in finding}
