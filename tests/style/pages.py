"""The Markdown pages of the tree, and their text in the pieces that the checks look at."""
import re

from source import ROOT

# Folders with pages that are not ours: what was built, and what hidden folders hold.
FOREIGN = ("build",)
FENCE = re.compile(r"^\s*(```|~~~)")


def pages():
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if parts[0] not in FOREIGN and not any(part.startswith(".") for part in parts):
            yield path


def without_code(text):
    """Blank lines in place of code blocks, fenced or indented; line numbers stay."""
    lines, fenced, paragraph, listed = [], False, False, False
    for line in text.splitlines():
        fence = FENCE.match(line)
        indented = line.startswith("    ") and not paragraph and not listed
        if fence or fenced or indented:
            fenced = not fenced if fence else fenced
            lines.append("")
            continue
        lines.append(line)
        listed = bool(re.match(r"\s*([-*]|\d+\.) ", line)) or (listed and line[:1] in ("", " "))
        paragraph = bool(line.strip())
    return lines


def plain(text):
    """What a reader reads: `code` becomes a word, a link its text."""
    text = re.sub(r"``.+?``|`[^`]*`", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}", "", text)


def pieces(text):
    """(line number, kind, text) of each heading, table cell and paragraph; an item of a list is a
    paragraph. Code inside the text is kept as it stands."""
    start, held = 0, []

    def paragraph():
        if held:
            yield start, "paragraph", " ".join(held)
            held.clear()

    for number, line in enumerate(without_code(text), 1):
        bare = line.strip()
        if bare.startswith("|"):
            yield from paragraph()
            for cell in re.split(r"(?<!\\)\|", bare.strip("|")):
                if not re.fullmatch(r"[\s:-]*", cell):
                    yield number, "cell", cell.strip()
        elif not bare or bare.startswith("#"):
            yield from paragraph()
            if bare:
                yield number, "heading", bare.lstrip("# ")
        else:
            item = re.match(r"([-*]|\d+\.) ", bare)
            if item:
                yield from paragraph()
                bare = bare[item.end():]
            bare = bare.removeprefix("> ")
            start = start if held else number
            held.append(bare)
    yield from paragraph()
