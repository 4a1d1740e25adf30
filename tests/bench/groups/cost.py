"""What a 4 KiB command costs each side, counted: instructions by layer and system calls.

Counts do not depend on what else the machine does, so one round is enough. The kernel's instructions
are not in them; the system calls stand for those. Every row is a count per command, without peer.
"""
import pathlib
import sys

TITLE = "Cost: instructions and system calls of one 4 KiB command over uiwarp, by layer"
PROGRAMS = ("io_cost",)
DEPTHS = (1, 32, 128)
COMMANDS = {1: 500, 32: 3200, 128: 6400}

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "callgrind"))
import layers  # noqa: E402


def take(group, way, depth, side):
    program = pathlib.Path(group.bin) / "io_cost"
    cost = layers.per_command(program, side, way, depth, COMMANDS[depth])
    name = f"4 KiB {way}, depth {depth}, {side}"

    def count(what, value):
        group.sample(f"{what}:{name}", value, "", [program, way, depth, COMMANDS[depth]])
        group.figure(f"{name}: {what}", f"{what}:{name}")

    count("instructions", sum(cost.instructions.values()))
    for layer in layers.ORDER:
        if cost.instructions[layer]:
            count(f"  {layer}", cost.instructions[layer])
    count("system calls", sum(cost.calls.values()))
    for call, n in sorted(cost.calls.items()):
        count(f"  {call}", n)


def measure(group):
    group.rounds = 1
    for way in ("read", "write"):
        for depth in (32,) if group.quick else DEPTHS:
            for side in ("target", "host"):
                take(group, way, depth, side)
    group.notes.append("target and host alternate in one thread; counted by valgrind, whose slowness "
                       "makes the event loop ask its descriptors in every round")
