"""Who may include what: dependencies point one way, between the folders of examples/ too."""
import re

from source import ROOT, files

BASE = ("mrpool/", "examples/base/")
GATEWAY = (*BASE, "examples/storage/", "examples/control/", "examples/metrics/")
ENGINE = (*GATEWAY, "examples/gateway/", "examples/engine/")

# A file below the first prefix may include the project's files below the others; the longest prefix
# counts. Its own folder is always allowed.
DIRECTIONS = {
    "include": ("mrpool/",),
    "include/mrpool": ("mrpool/",),
    "pool": ("mrpool/",),
    "transport": ("mrpool/",),
    # The C interface is one more user of the public headers.
    "transport/c": ("mrpool/",),
    "transport/counters": ("mrpool/",),
    "transport/checks": ("mrpool/",),
    "transport/reactor": ("mrpool/",),
    "transport/uiwarp": ("mrpool/", "transport/checks/", "transport/counters/"),
    "transport/verbs": ("mrpool/", "transport/checks/", "transport/counters/"),
    # User verbs' flags are translated in one place.
    "transport/provider": ("mrpool/", "transport/uiwarp/", "transport/checker/"),
    "transport/checker": ("mrpool/",),
    "examples/hello": BASE,
    # What a program in C sees: mrpool.h.
    "examples/c": (),
    "examples/tutorial": ("mrpool/", "examples/c/block.h"),
    "examples/base": BASE,
    # The protocols know neither each other nor what serves them.
    "examples/protocol/nvme": BASE,
    "examples/protocol/iscsi": BASE,
    "examples/protocol/scsi": (*BASE, "examples/reservation/"),
    # Reservations know no protocol.
    "examples/reservation": (),
    # The records of a group of gateways; who uses them is the engine.
    "examples/gateway": (),
    "examples/storage": BASE,
    # A plugin is of a library of others, and has nothing of this project.
    "examples/storage/plugins": ("examples/storage/plugins/", "examples/storage/remote_api.h"),
    "examples/control": BASE,
    # What is shown, and how; who fills it is the engine.
    "examples/metrics": BASE,
    # One of them, for daemons of any protocol.
    "examples/gateway/daemon": (*GATEWAY, "examples/gateway/"),
    # The engine knows no protocol.
    "examples/engine": ENGINE,
    "examples/nvmf/target": (*ENGINE, "examples/protocol/nvme/", "examples/reservation/"),
    "examples/iser/target": (*ENGINE, "examples/protocol/iscsi/", "examples/protocol/scsi/"),
    # The initiators know no target and no storage.
    "examples/load": BASE,
    "examples/nvmf/host": (*BASE, "examples/load/", "examples/protocol/nvme/"),
    "examples/iser/initiator": (*BASE, "examples/load/", "examples/protocol/iscsi/",
                                "examples/protocol/scsi/"),
    "examples/audit": BASE,
    "examples/ctl": BASE,
    "examples/run": (*BASE, "transport/provider/options.h",
                     "transport/provider/pcap_format.h", "transport/checker/finding.h",
                     "transport/checker/frame.h", "transport/checker/json.h",
                     "transport/checker/kind.h", "transport/checker/monitor.h",
                     "transport/checker/options.h", "transport/checker/output.h",
                     "transport/checker/received_bytes.h", "transport/checker/suppressions.h"),
    "tests": ("mrpool/", "pool/", "transport/", "examples/"),
}
PROJECT = ("mrpool/", "pool/", "transport/", "examples/", "tests/")
# Public headers that a user of the library need not have are kept out of ours.
NOT_IN_PUBLIC_HEADERS = ("infiniband/", "rdma/", "boost/")


def includes(text):
    """(line number, name) of each #include."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#include ["<]([^">]+)[">]', line)
        if match:
            yield number, match.group(1)


def rule_of(path):
    """The longest prefix of DIRECTIONS that `path` lies below, or None."""
    below = [prefix for prefix in DIRECTIONS if path.startswith(prefix + "/")]
    return max(below, key=len, default=None)


def may_include(path, name):
    rule = rule_of(path)
    return rule is not None and name.startswith((rule + "/", *DIRECTIONS[rule]))


def check(report):
    for path in files(".h", ".cc"):
        rule = rule_of(str(path))
        if rule is None:
            report(f"{path}: tests/style/directions.py does not say what this folder may include")
            continue
        text = (ROOT / path).read_text()
        for number, name in includes(text):
            if name.startswith(PROJECT) and not may_include(str(path), name):
                report(f"{path}:{number}: {rule}/ may not include {name}")
            if (str(path).startswith("include/") and path.name != "asio.h"
                    and name.startswith(NOT_IN_PUBLIC_HEADERS)):
                report(f"{path}:{number}: a public header includes {name}")
