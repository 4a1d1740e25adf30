"""The messages that docs/operate/troubleshooting.md explains are in the programs.

A message is what stands in code quotes in the first column of its tables: a part of one string of
the sources, however that is divided over lines.
"""
import re

from source import ROOT, files

PAGE = "docs/operate/troubleshooting.md"
MESSAGE = re.compile(r"^\| `([^`]+)`", re.M)


def strings(text):
    """The text with adjacent strings joined, and without their escapes of quotation marks."""
    return re.sub(r'"\s*\n\s*"', "", text).replace('\\"', '"')


def missing(page, sources):
    """The messages of a page that no source has."""
    joined = [strings(text) for text in sources]
    return [message for message in MESSAGE.findall(page)
            if not any(message in text for text in joined)]


def check(report):
    sources = [(ROOT / path).read_text() for path in files(".cc", ".h")
               if not str(path).startswith("tests/")]
    for message in missing((ROOT / PAGE).read_text(), sources):
        report(f"{PAGE}: explains `{message}`, which no program prints")
