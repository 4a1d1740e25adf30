"""Code that a page quotes "From `FILE`:" is in that file, line by line.

The quote is the next fenced block; indentation counts, blank lines at its ends do not.
"""
import re

import pages
from source import ROOT

QUOTE = re.compile(r"\bFrom\s+`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.S | re.M)


def problems(text, root):
    """(line number, problem) of a page."""
    for match in QUOTE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        name, quote = match[1], match[2].strip("\n")
        if not (root / name).is_file():
            yield line, f"quotes {name}, which does not exist"
        elif quote not in (root / name).read_text():
            yield line, f"quotes {name}, which does not have these lines"


def check(report):
    for page in pages.pages():
        for line, problem in problems(page.read_text(), ROOT):
            report(f"{page.relative_to(ROOT)}:{line}: {problem}")
