"""docs/reference/api.md names every public name of the headers in include/, and no other.

Public names are types, functions, constants, enumerators and macros: of C++ those of the namespace
`mrpool` and of its classes' public parts, of C those of mrpool.h. Left out are fields, constructors,
operators, opaque types of C++ and the namespaces of HIDDEN.

The page has a heading for each header, and a table below it. The code spans of a row's first column
are names of this header, `Class::member` for members. Enumerators are named anywhere on the page, or
on the page of error codes.
"""
import re

from source import ROOT, strip_comments

PAGE = "docs/reference/api.md"
ERRORS = "docs/reference/errors.md"
HIDDEN = ("internal", "asio_detail", "boost")
SECTION = re.compile(r"^#+ `([\w/]+\.h)`$", re.M)
ROW = re.compile(r"^\| (`[^|]*) \|", re.M)
TYPE = re.compile(r"(class|struct|enum class|enum)\s+(?:\[\[\w+\]\]\s*|MRPOOL_STORAGE\s+)?(\w+)"
                  r"\s*(?:final\s*)?(?::[^:].*)?", re.S)
LABEL = re.compile(r"(public|private|protected)\s*:\s*")
ALIAS = re.compile(r"using (\w+) =|typedef .*?\(\*(\w+)\)", re.S)
CONSTANT = re.compile(r"\b(?:constexpr|const)\b.*\b((?:k[A-Z]|to_)\w*)$", re.S)
# What a head may have that is neither a type nor a name.
NOISE = re.compile(r"\[\[.*?\]\]|\balignas\(\w+\)|^(?:MRPOOL_\w+\(\w+\)\s*)+")


def macros(text):
    """Those that a header leaves defined; a name that ends in "_" is the header's own."""
    defined = re.findall(r"^#define (\w*[A-Za-z0-9])\b", text, re.M)
    return set(defined) - set(re.findall(r"^#undef (\w+)", text, re.M))


def closing(text, at, pair="{}"):
    """The place of the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] == pair[0]) - (text[place] == pair[1])
        if depth == 0:
            return place
    raise ValueError(f"nothing closes {text[at:at + 60]}")


def cleaned(head):
    """A statement without attributes and `template <...>`."""
    head = NOISE.sub("", head).strip()
    while head.startswith("template"):
        head = head[closing(head, head.index("<"), "<>") + 1:].strip()
    return head


def is_variable(head):
    """Whether the brace after `head` begins an initializer."""
    without = re.sub(r"\boperator\s*[^\s\w(]+", "operator", cleaned(LABEL.sub("", head)))
    return not re.match(r"(class|struct|enum|namespace|extern)\b", without) and (
        "(" not in without or "=" in without.split("(")[0])


def statements(text):
    """(text before its body or semicolon, body or None) of each statement."""
    start, at, depth = 0, 0, 0
    while at < len(text):
        depth += (text[at] in "(") - (text[at] in ")")
        if depth == 0 and text[at] == ";":
            yield text[start:at].strip(), None
            start = at + 1
        elif depth == 0 and text[at] == "{":
            end = closing(text, at)
            head = text[start:at].strip()
            if not is_variable(head):
                yield head, text[at + 1:end]
                start = end + 1
            at = end
        at += 1


def function_name(head):
    """Nothing of operators, of constructors and of what is no function."""
    match = re.search(r"(~?\w+)\s*\(", head)
    if not match or "operator" in head or re.search(r"=\s*delete$", head):
        return None
    before = re.sub(r"\b(explicit|constexpr|inline|virtual)\b", "", head[:match.start()]).strip()
    return match[1] if re.search(r"[\w>&*]$", before) else None


def name_of(head):
    """The name that a statement without a body of its own declares, or None."""
    alias = ALIAS.match(head)
    if alias:
        return alias[1] or alias[2]
    if "(" not in re.split(r"[={]", head)[0]:
        constant = CONSTANT.search(re.split(r"[={]", head)[0].strip())
        return constant and constant[1]
    return function_name(head)


class Names:
    """The public names of a header."""

    def __init__(self, text, opaque):
        """`opaque`: a type that is only declared is one of them."""
        text = strip_comments(text)
        self.names, self.enumerators, self.opaque = macros(text), set(), opaque
        self.walk(re.sub(r"^#(?:.*\\\n)*.*$", "", text, flags=re.M), "", True)

    def walk(self, text, scope, public):
        """Adds the names of `text`, the body of `scope`."""
        for head, body in statements(text):
            head = cleaned(head)
            while LABEL.match(head):
                public = LABEL.match(head)[1] == "public"
                head = cleaned(LABEL.sub("", head, count=1))
            space = re.match(r"namespace (\w+)$", head)
            if space or head.startswith('extern "C"'):
                if not space or space[1] not in HIDDEN:
                    self.walk(body, scope, True)
            elif public and not re.match(r"friend |static_assert", head):
                self.add(head, body, scope)

    def add(self, head, body, scope):
        kind = TYPE.fullmatch(head)
        if not kind:
            name = name_of(head)
            # Of a definition outside of the class, the class has the name.
            if name and not re.search(rf"\w::{name}\s*(\(|$)", head.split("=")[0]):
                self.names.add(scope + name)
        elif body is not None or self.opaque:
            self.names.add(scope + kind[2])
            if kind[1].startswith("enum"):
                self.enumerators.update(re.findall(r"\b(k[A-Z]\w*|MRPOOL_\w+)", body))
            elif body is not None:
                self.walk(body, f"{scope}{kind[2]}::", kind[1] == "struct")


def headers(root):
    """{"mrpool/qp.h": Names} of all public headers below root/include."""
    found = {}
    for path in [*sorted((root / "include/mrpool").glob("*.h")), root / "include/mrpool.h"]:
        found[str(path.relative_to(root / "include"))] = Names(path.read_text(),
                                                               path.name == "mrpool.h")
    return found


def listed(page):
    """{header: {name}} of the page's tables."""
    parts = SECTION.split(page)
    return {header: {name for cell in ROW.findall(text) for name in re.findall(r"`([\w:]+)`", cell)}
            for header, text in zip(parts[1::2], parts[2::2])}


def problems(page, errors, found):
    """What is wrong with the page; `errors` is the text of the other page that has enumerators."""
    named = listed(page)
    spans = set(re.findall(r"`(\w+)`", page + errors))
    for header, public in found.items():
        here = named.get(header, set())
        for name in sorted(public.names - here):
            yield f"does not name {name} of {header}"
        for name in sorted(here - public.names):
            yield f"names {name}, which {header} does not have"
        for name in sorted(public.enumerators - spans):
            yield f"does not name {name}, an enumerator of {header}"
    for header in sorted(set(named) - set(found)):
        yield f"has a heading for {header}, which does not exist"


def check(report):
    found = headers(ROOT)
    if sum(len(public.names) for public in found.values()) < 400:
        report("tests/style/public_api.py: finds too few names")
    for problem in problems((ROOT / PAGE).read_text(), (ROOT / ERRORS).read_text(), found):
        report(f"{PAGE}: {problem}")
