#!/usr/bin/env python3
"""No block of six lines or more stands twice in the targets, the initiators and their engine.

Lines are compared without comments and space; includes, blank lines and lines of punctuation only
do not count. As a program it also looks for blocks that differ in their names only, which is a lead
and no finding:

    tests/style/duplicates.py [--renamed]
"""
import collections
import re
import sys

from source import ROOT, files, strip_comments

MOST_LINES = 5
FOLDERS = ("examples/nvmf/", "examples/iser/", "examples/engine/")
NOT_COUNTED = re.compile(r"#include\b|#pragma\b|namespace\b|using\b|(public|private|protected):$")


KEYWORDS = frozenset("""auto bool break case char class const constexpr continue default do else enum
false for if namespace nullptr private public return static std struct switch true void while
""".split())


def without_names(line):
    line = re.sub(r'"(?:\\.|[^"\\])*"', '""', line)
    return re.sub(r"[A-Za-z_]\w*", lambda m: m.group() if m.group() in KEYWORDS else "_", line)


def significant(text):
    """[(line number, line without space)] of the lines that count."""
    lines = []
    for number, line in enumerate(strip_comments(text).splitlines(), 1):
        line = line.strip()
        if not re.search(r"\w", line) or NOT_COUNTED.match(line):
            continue
        lines.append((number, re.sub(r"\s+", "", line)))
    return lines


def blocks(texts, normal=str):
    """Maximal blocks that stand twice: (path, line, path, line, lines). `texts`: path → text."""
    window = MOST_LINES + 1
    lines = {path: [(number, normal(line)) for number, line in significant(text)]
             for path, text in texts.items()}
    places = collections.defaultdict(list)
    for path, content in lines.items():
        for at in range(len(content) - window + 1):
            places[tuple(line for _, line in content[at:at + window])].append((path, at))

    def same(a, i, b, j):
        return (0 <= i < len(lines[a]) and 0 <= j < len(lines[b]) and (a, i) != (b, j)
                and lines[a][i][1] == lines[b][j][1])

    for found in places.values():
        for first in range(len(found)):
            for second in range(first + 1, len(found)):
                (a, i), (b, j) = found[first], found[second]
                if same(a, i - 1, b, j - 1):
                    continue  # in the middle of a longer block
                length = window
                while same(a, i + length, b, j + length):
                    length += 1
                if a == b:
                    length = min(length, j - i)
                if length >= window:
                    yield a, lines[a][i][0], b, lines[b][j][0], length


def texts_of(*suffixes):
    return {str(path): (ROOT / path).read_text()
            for path in files(*suffixes) if str(path).startswith(FOLDERS)}


def check(report):
    for a, line, b, other, length in blocks(texts_of(".h", ".cc")):
        report(f"{a}:{line}: {length} lines stand again at {b}:{other}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--renamed"]:
        for a, line, b, other, length in blocks(texts_of(".cc"), without_names):
            print(f"{a}:{line}: {length} lines stand again, renamed, at {b}:{other}")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        check(print)
