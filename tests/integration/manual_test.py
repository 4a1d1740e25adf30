#!/usr/bin/env python3
"""The man pages of configuration files and addresses have every key and option that the programs
know, and no other.

The programs are asked: each is given a key or an option that is not there, and its message lists
those that are. A key that is added is tested by being read.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

BIN = pathlib.Path(os.environ.get("MRPOOL_BIN", "build/dev/bin"))
MAN = BIN.parent / "man"
TOOL = pathlib.Path(__file__).parents[2] / ".cmake/man"
PATIENCE = 60
UNKNOWN = "no_such_key"

NVMF = {"listen": ["uiwarp://127.0.0.1:0"],
        "stores": [{"name": "disk", "storage": "ram:1MiB"}],
        "keys": [{"name": "host", "path": "/etc/mrpool/host.key"}],
        "subsystems": [{"nqn": "nqn.2026-11.org.example:disk",
                        "hosts": [{"nqn": "nqn.2026-11.org.example:host", "dhchap_key": "host"}],
                        "ana_states": [{"ana_state": "optimized"}],
                        "host_limits": [{"nqn": "*", "rw_ios_per_sec": 1}],
                        "namespaces": [{"storage": "ram:1MiB"}]}]}
ISER = {"listen": ["uiwarp://127.0.0.1:0"],
        "stores": [{"name": "disk", "storage": "ram:1MiB"}],
        "targets": [{"name": "iqn.2026-11.org.example:disk", "luns": [{"storage": "ram:1MiB"}],
                     "initiator_limits": [{"name": "*", "rw_ios_per_sec": 1}],
                     "initiators": [{"name": "iqn.2026-11.org.example:host"}]}]}
# Of each daemon, its example and which section of its page has the keys of which object.
PAGES = {
    "mrpool-nvmf-target": (NVMF, {
        "KEYS OF THE DAEMON": (),
        "KEYS OF A STORE": ("stores", 0),
        "KEYS OF A KEY": ("keys", 0),
        "KEYS OF A SUBSYSTEM": ("subsystems", 0),
        "KEYS OF A HOST": ("subsystems", 0, "hosts", 0),
        "KEYS OF AN ANA STATE": ("subsystems", 0, "ana_states", 0),
        "KEYS OF A LIMIT OF A HOST": ("subsystems", 0, "host_limits", 0),
        "KEYS OF A NAMESPACE": ("subsystems", 0, "namespaces", 0),
    }),
    "mrpool-iser-target": (ISER, {
        "KEYS OF THE DAEMON": (),
        "KEYS OF A STORE": ("stores", 0),
        "KEYS OF A TARGET": ("targets", 0),
        "KEYS OF A LUN": ("targets", 0, "luns", 0),
        "KEYS OF A LIMIT OF AN INITIATOR": ("targets", 0, "initiator_limits", 0),
        "KEYS OF AN INITIATOR": ("targets", 0, "initiators", 0),
    }),
}


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, timeout=PATIENCE)
    return done.stdout + done.stderr


def sections(page):
    """{heading: {tag, ...}}: the first word in bold of each tagged paragraph."""
    text = (MAN / page).read_text()
    _, *parts = re.split(r"^\.SH (.*)$", text, flags=re.M)
    return {heading: set(re.findall(r"^\.TP\n\.BI? (\S+)", body, re.M))
            for heading, body in zip(parts[::2], parts[1::2])}


def known_keys(program, example, path):
    """What the program's message says that there is at `path` of its configuration."""
    config = json.loads(json.dumps(example))
    place = config
    for step in path:
        place = place[step]
    place[UNKNOWN] = 1
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        output = run(BIN / program, "--config", file.name, "--check-config")
    listed = re.search(rf"{UNKNOWN} is not known; here there are: (.*)", output)
    assert listed, f"{program} does not name its keys at {path}: {output}"
    return set(listed[1].split(", "))


def known_words(address, pattern):
    """What a message about an address that is wrong lists."""
    output = run(BIN / "mrpool-audit", address)
    listed = re.search(pattern, output)
    assert listed, f"{address}: {output}"
    return set(re.split(r", | and ", listed[1]))


class Manual(unittest.TestCase):
    def compare(self, page, section, there, known):
        self.assertEqual(known - there, set(), f"{page} lacks these in {section}")
        self.assertEqual(there - known, set(), f"{page} has these in {section}, which are not known")

    def test_configuration_pages_have_the_keys_of_the_parsers(self):
        for program, (example, places) in PAGES.items():
            page = f"{program}.json.5"
            tags = sections(page)
            for section, path in places.items():
                with self.subTest(page=page, section=section):
                    self.compare(page, section, tags[section], known_keys(program, example, path))

    def test_the_address_page_has_the_transports_and_their_options(self):
        page = "mrpool-address.7"
        tags = sections(page)
        for section, address, pattern in (
                ("TRANSPORTS", "elsewhere://127.0.0.1", r"known are: (.*)"),
                ("OPTIONS OF UIWARP", "uiwarp://127.0.0.1?elsewhere=1", r"; there are (.*)")):
            with self.subTest(section=section):
                self.compare(page, section, tags[section], known_words(address, pattern))

    def test_the_examples_of_the_configuration_pages_are_right(self):
        for program in PAGES:
            text = (MAN / f"{program}.json.5").read_text()
            example = re.search(r"^\.SH EXAMPLES\n.*?^\.nf\n(.*?)^\.fi", text, re.M | re.S)[1]
            with self.subTest(program=program), tempfile.TemporaryDirectory() as folder:
                config = pathlib.Path(folder) / "config.json"
                config.write_text(re.sub(r"/var/lib/[^/]*/", f"{folder}/",
                                         example.replace("\\-", "-")))
                done = subprocess.run([BIN / program, "--config", config, "--check-config"],
                                      capture_output=True, text=True, check=False,
                                      timeout=PATIENCE)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_notations_of_stores_have_lines_of_their_own(self):
        for program in PAGES:
            with self.subTest(program=program), tempfile.TemporaryDirectory() as folder:
                page = pathlib.Path(folder) / "page"
                subprocess.run([TOOL, BIN / program, "1", page], check=True, timeout=PATIENCE)
                for scheme in ("ram", "null", "file", "rbd"):
                    self.assertRegex(page.read_text(), rf"\n\.br\n{scheme}:[A-Z]")

    def test_pages_have_no_warning(self):
        pages = sorted(MAN.glob("*.[1-8]"))
        self.assertTrue(pages)
        for page in pages:
            with self.subTest(page=page.name):
                done = subprocess.run(["man", "--warnings", "--local-file", page],
                                      env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
                                      capture_output=True, text=True, check=False,
                                      timeout=PATIENCE)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("NAME", done.stdout)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    missing = [name for name in (*PAGES, "mrpool-audit") if not (BIN / name).exists()]
    if missing:
        sys.exit(f"not in {BIN}: {', '.join(missing)}; build them, or name the folder in MRPOOL_BIN")
    unittest.main()
