"""Does docs/reference/options.md list what each program's --help lists?

It does so under a heading "Options of `PROGRAM`": the first column of the tables there holds each
option with its placeholder, in code. Of a program with commands these are the options of all of them.
Every program that has a man page has such a heading.
"""
import re
import subprocess

from source import ROOT

PAGE = "docs/reference/options.md"
HEADING = re.compile(r"^#+ Options of `([\w-]+)`$", re.M)
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


def sections(text):
    """{program: the text below its heading}"""
    parts = HEADING.split(text)
    return {program: re.split(r"^#", below, maxsplit=1, flags=re.M)[0]
            for program, below in zip(parts[1::2], parts[2::2])}


def help_of(program):
    text = ""
    for option in ("--help", "--help-all"):
        if not text or "--help-all" in text:
            text = subprocess.run([program, option], capture_output=True, text=True,
                                  check=False).stdout
    return text


def check(report, build):
    found = sections((ROOT / PAGE).read_text())
    programs = {path.stem for path in (ROOT / "docs/man").glob("*.h2m")}
    for name in sorted(programs - set(found)):
        report(f"{PAGE}: has no heading \"Options of `{name}`\"")
    for name, section in found.items():
        program = build / "bin" / name
        if not program.exists():
            print(f"{PAGE}: not compared with {program}, which is not built")
            continue
        compare(PAGE, name, help_of(program), section, report)
