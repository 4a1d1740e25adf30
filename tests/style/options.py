"""Do the pages that list a program's options list what its --help lists?

A page does so under a heading "Options of `PROGRAM`" or "Options of `PROGRAM COMMAND`": the first
column of the tables there holds each option with its placeholder, in code.
"""
import re
import subprocess

from source import ROOT

HEADING = re.compile(r"^#+ Options of `([\w-]+)((?: \w+)?)`$", re.M)
# Every program has these.
GENERAL = ("--help", "--help-all", "--version", "--completion")


def listed(text):
    """{"--bs SIZE", ...} of a help text."""
    found = re.findall(r"^  (?:-\w, )?(--[\w-]+(?:\[=[\w|]+\])?)(?: (\S+))?(?:  .*)?$", text, re.M)
    return {f"{name} {value}".strip() for name, value in found if name not in GENERAL}


def documented(section):
    """The same of a page's tables."""
    return {cell.replace("\\|", "|")
            for cell in re.findall(r"^\| `(--(?:\\\||[^`|])+)` \|", section, re.M)}


def compare(page, program, help_text, section, report):
    for option in sorted(listed(help_text) - documented(section)):
        report(f"{page}: does not list {option} of {program}")
    for option in sorted(documented(section) - listed(help_text)):
        report(f"{page}: lists {option}, which {program} --help does not")


def check(report, build):
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text()
        for heading in HEADING.finditer(text):
            command = [heading[1], *heading[2].split()]
            section = re.split(r"^#", text[heading.end():], maxsplit=1, flags=re.M)[0]
            program = build / "bin" / command[0]
            if not program.exists():
                print(f"{path.relative_to(ROOT)}: not compared with {program}, which is not built")
                continue
            run = subprocess.run([program, *command[1:], "--help"], capture_output=True, text=True,
                                 check=False)
            compare(path.relative_to(ROOT), " ".join(command), run.stdout, section, report)
