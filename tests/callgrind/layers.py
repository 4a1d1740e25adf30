"""What a function cost by layer, from valgrind's callgrind: instructions, and system calls by name.

Each instruction belongs to the layer of its source line. Lines of headers that are not the
project's belong to the function that they were compiled into. Libraries are layers of their own.
"""
import collections
import functools
import os
import pathlib
import re
import subprocess
import tempfile

# The first prefix that a path of the project begins with.
LAYERS = (
    ("transport/uiwarp/socket.", "sockets"),
    ("transport/uiwarp/edge_set.", "sockets"),
    ("transport/uiwarp/stream.", "sockets"),
    ("transport/uiwarp/receiver.", "framing"),
    ("transport/uiwarp/wire.", "framing"),
    ("transport/uiwarp/tx_batch.", "framing"),
    ("transport/uiwarp/", "iWARP"),
    ("transport/counters/", "iWARP"),
    ("transport/checks/", "iWARP"),
    ("transport/reactor/", "event loop"),
    ("include/mrpool/reactor.h", "event loop"),
    ("pool/", "pool, rdma_rw"),
    ("include/mrpool/", "pool, rdma_rw"),
    ("examples/storage/", "storage"),
    ("examples/engine/", "engine"),
    ("examples/", "NVMe"),
    ("tests/", "load"),
)
ORDER = ("NVMe", "engine", "storage", "pool, rdma_rw", "iWARP", "framing", "sockets", "event loop",
         "CRC (ISA-L)", "copies (libc)", "other libraries", "load")
ROOT = pathlib.Path(__file__).resolve().parents[2]
# Not the clock: valgrind has no vDSO, so reading it is a system call only there.
CALLS = ("recv", "recvmsg", "send", "sendmsg", "epoll_wait", "epoll_ctl", "read", "write")


@functools.cache
def layer_of(path):
    """The layer of a source file of the project; None of any other. The checkout may be another one
    than this: a compiler cache keeps the paths of whoever compiled first."""
    parts = pathlib.PurePath(os.path.normpath(path)).parts
    for start in range(1, len(parts)):
        name = "/".join(parts[start:])
        if (ROOT / name).is_file():
            return next((layer for prefix, layer in LAYERS if name.startswith(prefix)), None)
    return None


def library(obj, function):
    if "libisal" in obj:
        return "CRC (ISA-L)"
    if re.match(r"_*(mem(cpy|move|set|cmp)|mempcpy)", function):
        return "copies (libc)"
    return "other libraries"


class Cost:
    def __init__(self):
        self.instructions = collections.Counter()  # layer → count
        self.calls = collections.Counter()  # name → count

    def own(self):
        """Instructions of the program itself, which do not depend on what libraries choose."""
        return sum(n for layer, n in self.instructions.items()
                   if layer not in ("CRC (ISA-L)", "copies (libc)", "other libraries", "load"))


class Parser:
    """Reads the file that callgrind writes: https://valgrind.org/docs/manual/cl-format.html."""

    def __init__(self, program):
        self.program = str(pathlib.Path(program).resolve())
        self.names = {}
        self.cost = Cost()
        self.obj = self.file = self.inlined = self.function = ""
        self.events = []
        self.inclusive = False

    def name(self, kind, text):
        match = re.fullmatch(r"\((\d+)\)(?: (.*))?", text)
        if not match:
            return text
        key = (kind, match[1])
        if match[2] is not None:
            self.names[key] = match[2]
        return self.names.get(key, "")

    def set(self, key, text):
        if key == "ob":
            self.obj = self.name("ob", text)
        elif key == "fl":
            self.file = self.inlined = self.name("fl", text)
        elif key in ("fi", "fe"):
            self.inlined = self.name("fl", text)
        elif key == "fn":
            self.function = self.name("fn", text)
            self.inlined = self.file
        elif key == "cob":
            self.name("ob", text)
        elif key in ("cfi", "cfl"):
            self.name("fl", text)
        elif key == "cfn":
            self.name("fn", text)
        elif key == "calls":
            self.inclusive = True

    def line(self, text):
        if text.startswith("events:"):
            self.events = text.split()[1:]
            return
        match = re.match(r"(ob|fl|fi|fe|fn|cob|cfi|cfl|cfn|calls)=(.*)", text)
        if match:
            self.set(*match.groups())
        elif re.match(r"[+\-*\d]", text):
            if not self.inclusive:
                self.add(text.split()[1:])
            self.inclusive = False

    def add(self, values):
        counts = dict(zip(self.events, map(int, values)))
        own = self.obj == self.program
        layer = (layer_of(self.inlined) or layer_of(self.file)) if own else None
        if layer is None:
            layer = "event loop" if own and "boost" in self.file else None
        if layer is None:
            layer = library(self.obj, self.function)
        self.cost.instructions[layer] += counts.get("Ir", 0)
        call = self.function.split("@")[0].lstrip("_")
        if counts.get("sysCount", 0) and call in CALLS:
            self.cost.calls[call] += counts["sysCount"]


def run(program, function, *args):
    """Runs `program` under callgrind; the Cost of what happens inside `function`, and its output."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--collect-systime=yes", "--dump-line=yes",
             f"--callgrind-out-file={out}", f"--toggle-collect={function}", str(program),
             *map(str, args)],
            check=False, capture_output=True, text=True, timeout=200)
        if done.returncode != 0:
            raise RuntimeError(f"{program} under valgrind failed: {done.stderr[-2000:]}")
        parser = Parser(program)
        for text in pathlib.Path(out).read_text(encoding="utf-8", errors="replace").splitlines():
            parser.line(text)
        return parser.cost, int(done.stdout)


def per_command(program, side, way, depth, commands):
    """The Cost of one command of io_cost.cc to `side`: what more commands cost more. (Callgrind
    counts the system calls of set-up, too.)"""
    few, n = run(program, f"cost_{side}", way, depth, commands)
    many, m = run(program, f"cost_{side}", way, depth, 3 * commands)
    cost = Cost()
    for to, less, more in ((cost.instructions, few.instructions, many.instructions),
                           (cost.calls, few.calls, many.calls)):
        for key in more:
            to[key] = (more[key] - less[key]) / (m - n)
    return cost
