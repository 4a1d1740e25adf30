#!/usr/bin/env python3
"""Every relative link of every Markdown file leads to a file of the tree, and to a heading of it.
Every page of docs/ is in its index, docs/README.md.

    tests/style/links.py
"""
import re
import sys

sys.dont_write_bytecode = True
import pages  # noqa: E402
from source import ROOT  # noqa: E402

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s*\[[^\]]+\]:\s+<?(\S+?)>?\s*$")


def targets(text):
    """(line number, target) of each link that is not a web address."""
    for number, line in enumerate(pages.without_code(text), 1):
        for target in [*LINK.findall(re.sub(r"`[^`]*`", "", line)), *REFERENCE.findall(line)]:
            if not re.match(r"[a-z]+:", target):
                yield number, target


def anchors(text):
    """What GitHub makes of the headings: lower case, hyphens for spaces, no punctuation; a second
    heading of the same text gets a number."""
    seen = {}
    for line in pages.without_code(text):
        heading = re.match(r"#+ (.*)", line)
        if heading:
            shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
            count = seen[slug] = seen.get(slug, -1) + 1
            yield f"{slug}-{count}" if count else slug
    yield from re.findall(r'<a (?:id|name)="([^"]+)"', text)


def problems(page):
    """(line number, problem) of the links of a page."""
    text = page.read_text()
    for number, target in targets(text):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            yield number, f"links to {target}, which does not exist"
        elif anchor and there.suffix == ".md" and anchor not in set(anchors(there.read_text())):
            yield number, f"links to {target}, but {there.name} has no such heading"


def not_in_index(index, names):
    """The pages that the text of the index does not link."""
    linked = {target.partition("#")[0] for _, target in targets(index)}
    return sorted(set(names) - linked - {"README.md"})


def check(report):
    docs = ROOT / "docs"
    names = [str(page.relative_to(docs)) for page in pages.pages() if docs in page.parents]
    for name in not_in_index((docs / "README.md").read_text(), names):
        report(f"docs/README.md: does not link {name}")
    for page in pages.pages():
        for number, problem in problems(page):
            report(f"{page.relative_to(ROOT)}:{number}: {problem}")


def main():
    findings = []
    check(findings.append)
    print("\n".join([*findings, f"{len(findings)} findings"]))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
