"""The files that the documentation names are there, and so are the symbols it finds in them.

A name is in code quotes: a path from the top of the tree (`examples/engine/limits.h`, with braces as
shells have them), or the end of one (`queue.cc`, `storage/range_guard.h`); after a colon may stand
what the file has (`queue.cc: abort_command`). What is built or written at run time is none.
"""
import re

from source import ROOT, files

SUFFIXES = (".h", ".cc", ".c", ".py", ".sh", ".txt", ".cmake")
NAMED = (re.compile(r"`((?:include|pool|transport|examples|tests|docs)/[\w./{},-]+)(?:: (\w+))?`"),
         re.compile(r"`(?!build/)([\w./-]+\.(?:cc|h|py|cmake|sh))(?:: (\w+))?`"))


def names(text):
    """{(path, symbol or "")} of a page."""
    found = set()
    for pattern in NAMED:
        for name, symbol in pattern.findall(text):
            found.update((each, symbol) for each in expand(name))
    return found


def expand(name):
    match = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
    return [match[1] + each + match[3] for each in match[2].split(",")] if match else [name]


def missing(text, tree, root):
    """What is wrong with the names of a page; `tree` has the paths of source files under `root`."""
    for name, symbol in sorted(names(text)):
        there = [path for path in tree if path == name or path.endswith("/" + name)]
        if not there and not (root / name).exists():
            yield f"names {name}, which is not there"
        elif symbol and not any(re.search(rf"\b{symbol}\b", (root / path).read_text())
                                for path in there):
            yield f"finds {symbol} in {name}, which does not have it"


def check(report):
    tree = [str(path) for path in files(*SUFFIXES)]
    for page in (ROOT / "README.md", ROOT / "tests/README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for problem in missing(page.read_text(), tree, ROOT):
            report(f"{page.relative_to(ROOT)}: {problem}")
