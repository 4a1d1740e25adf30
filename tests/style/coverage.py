"""Every configuration key, statistic, metric and event of the log that the sources define is on its
page.

A page names them in code quotes or, in an example of a configuration, in quotation
marks.
"""
import re

from source import ROOT

KEY = re.compile(r'\bobject\.(?:text|texts|number|flag|size|duration|objects)\(\s*"(\w+)"')
COUNTER = re.compile(r"^\s*X\((\w+),", re.M)
DEVICE_COUNTER = re.compile(r"^  X\((\w+), k(?:Sum|Maximum),", re.M)
VALUE = re.compile(r'\.add\("(\w+)"')
EVENT = re.compile(r'^    \{"(\w+)", Severity::', re.M)
CALL = re.compile(r'[ {]"(\w+)"[,}]')
ENGINE = "examples/engine/options.cc"
# What a page has to name: (page, source, pattern).
RULES = [
    ("docs/operate/nvmf_target.md", "examples/nvmf/target/config.cc", KEY),
    ("docs/operate/nvmf_target.md", ENGINE, KEY),
    ("docs/operate/iser_target.md", "examples/iser/target/config.cc", KEY),
    ("docs/operate/iser_target.md", ENGINE, KEY),
    ("docs/reference/statistics.md", "examples/nvmf/target/counters.h", COUNTER),
    ("docs/reference/statistics.md", "examples/iser/target/counters.h", COUNTER),
    ("docs/reference/statistics.md", "include/mrpool/statistics.h", COUNTER),
    ("docs/reference/statistics.md", "examples/engine/service.cc", VALUE),
    ("docs/operate/service.md", "examples/base/log_events.h", EVENT),
    ("docs/operate/service.md", "examples/engine/system_calls.h", CALL),
]


# Enumerations whose values a page has to name.
ENUMERATIONS = [
    ("docs/reference/errors.md", "include/mrpool/work.h", "PostStatus"),
    ("docs/reference/errors.md", "include/mrpool/work.h", "WcStatus"),
    ("docs/reference/errors.md", "include/mrpool/qp.h", "DisconnectReason"),
]
METRICS = "docs/operate/metrics.md"
FAMILIES = "examples/metrics/families.cc"
DASHBOARD = "examples/metrics/grafana.json"


def metrics_of(families, device, nvme, iscsi):
    """The names that the exporter gives; the arguments are the texts of its source, of the device's
    counters and of the daemons'."""
    names = set(re.findall(r'\bto\.(?:one|gauge|counter)\(\s*"(\w+)"', families))
    for name in re.findall(r'^  counter\(\s*"(\w+)"', families, re.M):
        names |= {f"unit_{name}", f"host_{name}"}
    names |= set(re.findall(r'Family family\(to\.families\(\), "(\w+)"', families))
    names |= {f"device_{name}" + ("" if name.endswith("_max") else "_total")
              for name in DEVICE_COUNTER.findall(device)}
    names |= {f"device_terminates_{way}_total"
              for way in re.findall(r'write_terminates\(from, "(\w+)"', families)}
    for scope, text in (("subsystem", nvme), ("iscsi", iscsi)):
        names |= {f"{scope}_" + (f"{name[:-3]}_seconds" if name.endswith("_ns") else name) + "_total"
                  for name in COUNTER.findall(text)}
    return {f"mrpool_{name}" for name in names}


def check_metrics(page, names, report):
    """Both ways: a metric that is gone leaves its row."""
    listed = set(re.findall(r"^\| `(mrpool_\w+)`", page, re.M))
    for name in sorted(names - listed):
        report(f"{METRICS}: does not list {name}, which {FAMILIES} makes")
    for name in sorted(listed - names):
        report(f"{METRICS}: lists {name}, which {FAMILIES} does not make")


def check_queries(dashboard, names, report):
    """The dashboard asks for nothing that is not there."""
    suffixes = ("_bucket", "_sum", "_count")
    asked = set(re.findall(r"\bmrpool_\w+", dashboard))
    known = names | {name + suffix for name in names for suffix in suffixes}
    for name in sorted(asked - known):
        report(f"{DASHBOARD}: asks for {name}, which {FAMILIES} does not make")
    if not asked:
        report(f"tests/style/coverage.py: finds no query in {DASHBOARD}")


def named(page):
    return set(re.findall(r'[`"/](\w+)[`"]', page))


def missing(page, source, pattern):
    """What `source` defines and `page` does not name; both are texts."""
    return sorted(set(pattern.findall(source)) - named(page))


def values(source, enumeration):
    """The names of an `enum class` of `source`, a text."""
    body = re.search(rf"enum class (?:\[\[\w+\]\] )?{enumeration}\b[^{{]*{{(.*?)}};", source, re.S)
    return re.findall(r"^\s*(k[A-Z]\w*)", body[1], re.M) if body else []


def check_enumerations(report):
    for page, source, enumeration in ENUMERATIONS:
        found = set(values((ROOT / source).read_text(), enumeration)) - {"kOk"}
        if not found:
            report(f"tests/style/coverage.py: finds no {enumeration} in {source}")
        for name in sorted(found - named((ROOT / page).read_text())):
            report(f"{page}: does not name {name}, a {enumeration} of {source}")


def check(report):
    check_enumerations(report)
    for page, source, pattern in RULES:
        found = pattern.findall((ROOT / source).read_text())
        if not found:
            report(f"tests/style/coverage.py: finds nothing in {source}")
        for name in missing((ROOT / page).read_text(), (ROOT / source).read_text(), pattern):
            report(f"{page}: does not name {name}, which {source} defines")
    texts = [(ROOT / source).read_text() for source in (
        FAMILIES, "include/mrpool/statistics.h", "examples/nvmf/target/counters.h",
        "examples/iser/target/counters.h")]
    names = metrics_of(*texts)
    check_metrics((ROOT / METRICS).read_text(), names, report)
    check_queries((ROOT / DASHBOARD).read_text(), names, report)
