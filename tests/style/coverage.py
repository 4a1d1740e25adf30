"""Every configuration key, statistic, metric, event of the log and method of the control socket that
the sources define is on its page.

A page names them in code quotes or, in an example of a configuration, in quotation marks.
"""
import re

from source import ROOT

KEY = re.compile(r'\bobject\.(?:text|texts|number|flag|size|duration|objects)\(\s*"(\w+)"')
COUNTER = re.compile(r"^\s*X\((\w+),", re.M)
DEVICE_COUNTER = re.compile(r"^  X\((\w+), k(?:Sum|Maximum),", re.M)
VALUE = re.compile(r'\.add\("(\w+)"')
EVENT = re.compile(r'^    \{"(\w+)", Severity::', re.M)
CALL = re.compile(r'[ {]"(\w+)"[,}]')
METHOD = re.compile(r'(?:\.name = |\badd_(?!memory|files)\w+\(\s*)"([a-z]+(?:_[a-z]+)+)"')
MANUAL = re.compile(r"^\.TP\n\.B (\w+)$", re.M)
KEYS = "docs/reference/configuration.md"
# What a page, or a section of a page, has to name: (page[#heading], source, pattern).
RULES = [
    (f"{KEYS}#Keys of both daemons", "examples/engine/options.cc", KEY),
    (f"{KEYS}#Keys of both daemons", "docs/man/engine_keys.roff", MANUAL),
    (f"{KEYS}#Keys of both daemons", "docs/man/limit_keys.roff", MANUAL),
    (f"{KEYS}#mrpool-nvmf-target", "examples/nvmf/target/config.cc", KEY),
    (f"{KEYS}#mrpool-nvmf-target", "docs/man/mrpool-nvmf-target.json.5.in", MANUAL),
    (f"{KEYS}#mrpool-iser-target", "examples/iser/target/config.cc", KEY),
    (f"{KEYS}#mrpool-iser-target", "docs/man/mrpool-iser-target.json.5.in", MANUAL),
    ("docs/reference/statistics.md", "examples/nvmf/target/counters.h", COUNTER),
    ("docs/reference/statistics.md", "examples/iser/target/counters.h", COUNTER),
    ("docs/reference/statistics.md", "include/mrpool/statistics.h", COUNTER),
    ("docs/reference/statistics.md", "examples/engine/service.cc", VALUE),
    ("docs/operate/service.md", "examples/base/log_events.h", EVENT),
    ("docs/operate/service.md", "examples/engine/system_calls.h", CALL),
]


# The daemons' folders: what config.cc reads, config_json.cc writes, for --print-config and saving.
DAEMONS = ("examples/nvmf/target", "examples/iser/target")
DERIVED = {"adrfam"}  # follows from the address
# Enumerations whose values a page has to name.
ENUMERATIONS = [
    ("docs/reference/errors.md", "include/mrpool/work.h", "PostStatus"),
    ("docs/reference/errors.md", "include/mrpool/work.h", "WcStatus"),
    ("docs/reference/errors.md", "include/mrpool/qp.h", "DisconnectReason"),
]
# The pages that name methods of the control socket, and the folders that define them.
CONTROL = ("docs/operate/control.md", "docs/operate/authentication.md")
METHODS_IN = ("examples/control", "examples/engine", "examples/nvmf/target", "examples/iser/target")
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


def unwritten(reader, writer):
    """The keys that the first source reads and the second does not write."""
    return sorted(key for key in set(KEY.findall(reader)) - DERIVED if f'"{key}"' not in writer)


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


def section(page, heading):
    """What stands below a heading of the second level; the whole page without one."""
    if not heading:
        return page
    return re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", page, re.M | re.S)[1]


def check_methods(report):
    page = "\n".join((ROOT / name).read_text() for name in CONTROL)
    defined = {}
    for folder in METHODS_IN:
        for path in sorted((ROOT / folder).glob("*.cc")):
            for name in METHOD.findall(path.read_text()):
                defined[name] = path.relative_to(ROOT)
    if len(defined) < 50:
        report("tests/style/coverage.py: finds too few methods of the control socket")
    for name in sorted(set(defined) - named(page)):
        report(f"{CONTROL[0]}: does not name {name}, which {defined[name]} defines")


def check(report):
    check_enumerations(report)
    check_methods(report)
    for place, source, pattern in RULES:
        page, _, heading = place.partition("#")
        found = pattern.findall((ROOT / source).read_text())
        if not found:
            report(f"tests/style/coverage.py: finds nothing in {source}")
        text = section((ROOT / page).read_text(), heading)
        for name in missing(text, (ROOT / source).read_text(), pattern):
            report(f"{place}: does not name {name}, which {source} defines")
    for folder in DAEMONS:
        reader, writer = (f"{folder}/{name}" for name in ("config.cc", "config_json.cc"))
        for key in unwritten((ROOT / reader).read_text(), (ROOT / writer).read_text()):
            report(f"{writer}: does not write {key}, which {reader} reads")
    texts = [(ROOT / source).read_text() for source in (
        FAMILIES, "include/mrpool/statistics.h", "examples/nvmf/target/counters.h",
        "examples/iser/target/counters.h")]
    names = metrics_of(*texts)
    check_metrics((ROOT / METRICS).read_text(), names, report)
    check_queries((ROOT / DASHBOARD).read_text(), names, report)
