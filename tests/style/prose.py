#!/usr/bin/env python3
"""Plain technical English in the documentation: all Markdown files, and comments of sources.

    tests/style/prose.py [FILE...]

Reports FILE:LINE, the rule and the text: sentences of more than 35 words, table cells of more than
300 characters, and the words of WORDS, which have a plainer one. Code is left out, and so are tables
and code inside comments, which are indented. The folders of COMMENTED are those whose comments are
checked. A page that prose.txt lists, with the reason, is not checked. Exits 1 when there is a
finding.
"""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
import pages  # noqa: E402
from source import ROOT, files, read_list  # noqa: E402

LONGEST_SENTENCE = 35
LONGEST_CELL = 300
COMMENTED = ("include/", "pool/", "transport/", "examples/", "tests/")
SUFFIXES = (".h", ".cc")

# Pattern, what to write.
WORDS = [(re.compile(pattern, re.I), plain) for pattern, plain in (
    (r"\bbehind\b", "after, below, at the end of"),
    (r"\bin front of\b", "before"),
    (r"\bmend(s|ed|ing)?\b", "fix"),
    (r"\bfigures\b", "statistics, numbers, results"),
    (r"\b(say|says|said|saying)\b", "report, state, specify"),
    (r"\b(tell|tells|told|telling)\b", "report, announce, distinguish"),
    (r"(?<!there )\b(is|are|was|were) no (?!longer\b|more\b|less\b|such\b|different\b)",
     "is not a"),
    (r"\b(is|are|was|were) not there\b", "is missing, is not implemented"),
    (r"\bno whole (number|multiple)\b", "not a multiple"),
    (r"\bfor ever\b", "forever"),
    (r"\bfor good\b", "permanently"),
    (r"\banew\b", "again"),
    (r"\bbeside\b", "next to, together with"),
    (r"\bmakes? of (?!it\b)", "how ... treats"),
    (r"\bgo(es)? before\b", "takes precedence over"),
    (r"\bfound out\b", "detected, found"),
    (r"\bof its own accord\b", "by itself"),
    (r"\bcomes? to (its|their|an) end\b", "ends"),
    (r"\bstands? (twice|there|in the|in its|in one)\b", "is in, appears"),
    (r"\btakes? .{0,30}\bfor (a|an|the) (old|other|leak|new)\b", "mistakes for"),
    (r"\bwhat (is|was) left\b", "the rest"),
    (r"\bas ever\b", "as before"),
    (r"\bhas? (the )?room for\b.*\bbeside\b", "fits"),
    (r"\bis an? other\b", "differs"),
    (r"\bhand(s|ed)? out\b", "delivers, returns"),
    (r"\bwhoever\b", "any ... that, no matter which"),
    (r"\bhears? of\b", "is notified of, learns"),
    (r"\bcomes? again\b", "reconnects, returns"),
)]
END = re.compile(r"(?<=[.!?])[)\"'\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
# In a comment the next sentence may begin with a name in lower case.
COMMENT_END = re.compile(r"(?<=[.!?])[)\"'\]]*\s+")
# What has a full stop and does not end a sentence.
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|vs|cf|etc|no)\.")


def sentences(text, end=END):
    return end.split(ABBREVIATION.sub(lambda m: m[0].replace(".", ""), text))


def words(sentence):
    return len(re.findall(r"[^\s]*\w[^\s]*", sentence))


def problems(text):
    """(line number, problem) of a page."""
    for number, kind, piece in pages.pieces(text):
        if kind == "cell" and len(piece) > LONGEST_CELL:
            yield number, f"a table cell of {len(piece)} characters; {LONGEST_CELL} are the most"
        plain = pages.plain(piece)
        for problem in problems_of_text(plain, sentences(plain)):
            yield number, problem


def problems_of_text(text, split):
    for sentence in split:
        if words(sentence) > LONGEST_SENTENCE:
            yield (f"a sentence of {words(sentence)} words; {LONGEST_SENTENCE} are the most: "
                   f"{sentence[:60]}...")
    for pattern, better in WORDS:
        for match in pattern.finditer(text):
            around = text[max(0, match.start() - 25):match.end() + 25]
            yield f'"{match[0].strip()}": write {better}: ...{around}...'


def comments(text):
    """(line number, text) of each comment that has lines of its own."""
    start, held = 0, []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        prose = re.match(r"\s*// ?(?!  )(.*)", line)
        if prose and prose[1]:
            start = start if held else number
            held.append(prose[1])
        elif held:
            yield start, " ".join(held)
            held = []


def problems_of_comments(text):
    """(line number, problem) of a source."""
    for number, comment in comments(text):
        comment = pages.plain(comment)
        for problem in problems_of_text(comment, sentences(comment, COMMENT_END)):
            yield number, problem


def excluded():
    """The pages of prose.txt; each line has a reason in its comment."""
    return {line[0] for line in read_list(ROOT / "tests/style/prose.txt")}


def check(report, chosen=None):
    left_out = excluded()
    sources = [ROOT / path for path in files(*SUFFIXES) if str(path).startswith(COMMENTED)]
    for path in chosen or [*pages.pages(), *sources]:
        name = str(path.relative_to(ROOT))
        if chosen is None and name in left_out:
            continue
        find = problems_of_comments if path.suffix in SUFFIXES else problems
        for number, problem in find(path.read_text()):
            report(f"{name}:{number}: {problem}")
    for name in sorted(left_out):
        if not (ROOT / name).exists():
            report(f"tests/style/prose.txt: {name} does not exist; remove the line")


def main():
    findings = []
    check(findings.append, [pathlib.Path(name).resolve() for name in sys.argv[1:]] or None)
    print("\n".join([*findings, f"{len(findings)} findings"]))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
