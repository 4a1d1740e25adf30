"""No function is longer than 70 lines. Needs universal-ctags, which takes a third of a second.

Functions that are longer and wait to be divided are in long_functions.txt, with the length they may
not exceed; an entry that is no longer needed is a finding, so that the list only shrinks.
"""
import json
import pathlib
import subprocess

from source import ROOT, files, read_list

MOST_LINES = 70
LIST = pathlib.Path(__file__).with_name("long_functions.txt")


def lengths(paths, root=ROOT):
    """(path, name, first line, lines) of every function."""
    run = subprocess.run(
        ["ctags", "--languages=C++", "--langmap=C++:.h.cc", "--c++-kinds=f", "--output-format=json",
         "--fields=+neS", "-o", "-", *map(str, paths)],
        cwd=root, capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        if "end" not in tag:
            continue
        name = tag["name"]
        if name.startswith("TEST"):  # TEST(Suite, Name): the arguments tell it from the others
            name += tag.get("signature", "").replace(" ", "")
        elif name.startswith("__anon"):
            name = "lambda"
        yield tag["path"], name, tag["line"], tag["end"] - tag["line"] + 1


def too_long(functions, allowed):
    """Findings: `allowed` maps (path, name) to a length."""
    needed = set()
    for path, name, line, length in functions:
        if length <= MOST_LINES:
            continue
        needed.add((path, name))
        most = allowed.get((path, name), MOST_LINES)
        if length > most:
            yield f"{path}:{line}: {name} has {length} lines; {most} are the most"
    for path, name in sorted(set(allowed) - needed):
        yield (f"tests/style/long_functions.txt: {path} {name}: no longer too long; "
               "remove the line")


def check(report):
    allowed = {(path, name): int(most) for path, name, most in read_list(LIST)}
    for finding in too_long(lengths(files(".h", ".cc")), allowed):
        report(finding)
