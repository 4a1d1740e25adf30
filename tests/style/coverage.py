"""Every configuration key and every statistic that the sources define is on its page.

A page names a key or a statistic in code quotes or, in an example of a configuration, in quotation
marks.
"""
import re

from source import ROOT

KEY = re.compile(r'\bobject\.(?:text|texts|number|flag|size|duration|objects)\(\s*"(\w+)"')
COUNTER = re.compile(r"^\s*X\((\w+),", re.M)
VALUE = re.compile(r'\.add\("(\w+)"')
ENGINE = "examples/engine/options.cc"
# What a page has to name: (page, source, pattern).
RULES = [
    ("docs/nvmf_target.md", "examples/nvmf/target/config.cc", KEY),
    ("docs/nvmf_target.md", ENGINE, KEY),
    ("docs/iser_target.md", "examples/iser/target/config.cc", KEY),
    ("docs/iser_target.md", ENGINE, KEY),
    ("docs/statistics.md", "examples/nvmf/target/counters.h", COUNTER),
    ("docs/statistics.md", "examples/iser/target/counters.h", COUNTER),
    ("docs/statistics.md", "include/mrpool/statistics.h", COUNTER),
    ("docs/statistics.md", "examples/engine/service.cc", VALUE),
]


def named(page):
    return set(re.findall(r'[`"/](\w+)[`"]', page))


def missing(page, source, pattern):
    """What `source` defines and `page` does not name; both are texts."""
    return sorted(set(pattern.findall(source)) - named(page))


def check(report):
    for page, source, pattern in RULES:
        found = pattern.findall((ROOT / source).read_text())
        if not found:
            report(f"tests/style/coverage.py: finds nothing in {source}")
        for name in missing((ROOT / page).read_text(), (ROOT / source).read_text(), pattern):
            report(f"{page}: does not name {name}, which {source} defines")
