#!/usr/bin/env python3
"""The daemons' metrics and status page, while initiators load them.

    MRPOOL_BIN=build/dev/bin tests/integration/metrics_test.py [Class[.test]]...

MRPOOL_PICTURES=FOLDER keeps the screenshots of Page there.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest
import urllib.error
import urllib.request

from browser import Browser
from harness import BIN, IQN, NQN, PATIENCE, IserTargetTest, TargetTest, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
HTTP = ["--http", "127.0.0.1:0"]
TOKEN = "0123456789abcdef0123456789abcdef"


def url(target):
    """Where the daemon serves HTTP."""
    return re.search(r"^metrics and status at (http://\S+)$", target.output(), re.M).group(1)


def get(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers),
                                timeout=PATIENCE) as answer:
        return answer.read().decode()


def status_of(address, **headers):
    try:
        get(address, **headers)
        return 200
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def parse(text):
    """{name: {labels: value}}; labels are a sorted tuple of pairs."""
    all_samples = {}
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
        pairs = tuple(sorted(re.findall(r'(\w+)="((?:\\.|[^"\\])*)"', labels or "")))
        all_samples.setdefault(name, {})[pairs] = float(value)
    return all_samples


def check_metrics(text):
    """What promtool says against it."""
    run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                         text=True, timeout=PATIENCE, check=False)
    return run.stdout + run.stderr + ("" if run.returncode == 0 else f"status {run.returncode}")


def families(text):
    return set(re.findall(r"^# TYPE (\w+)", text, re.M))


def documented():
    return set(re.findall(r"^\| `(mrpool_\w+)`", (ROOT / "docs/operate/metrics.md").read_text(), re.M))


class Checks:
    """What holds for both daemons."""

    def metrics(self, target):
        return parse(get(url(target) + "metrics"))

    def load(self, target, *options):
        job, _ = self.perf(target, "--rw", "randrw", "--bs", "16k", "--iodepth", "4", "--size",
                           "1MiB", *options)
        return job

    def total(self, samples, name, **labels):
        wanted = set(labels.items())
        return sum(value for pairs, value in samples.get(name, {}).items() if wanted <= set(pairs))

    def test_values_are_what_the_initiator_did(self):
        target = self.target(*self.large_storage, *HTTP, "--threads", "2")
        before = self.metrics(target)
        self.assertEqual(self.total(before, "mrpool_unit_reads_completed_total"), 0)
        jobs = [self.load(target), self.load(target)]
        samples = self.metrics(target)
        for way, ios, moved, seconds in (
                ("read", "reads_completed", "read_bytes", "read_seconds"),
                ("write", "writes_completed", "written_bytes", "write_seconds")):
            done = sum(job[way]["total_ios"] for job in jobs)
            size = sum(job[way]["io_bytes"] for job in jobs)
            self.assertGreater(done, 0)
            for whose in ("unit", "host"):
                self.assertEqual(self.total(samples, f"mrpool_{whose}_{ios}_total"), done)
                self.assertEqual(self.total(samples, f"mrpool_{whose}_{moved}_total"), size)
            self.assertEqual(self.total(samples, "mrpool_command_seconds_count", operation=way), done)
            self.assertEqual(self.total(samples, "mrpool_command_seconds_count", operation=way,
                                        size="16KiB"), done)
            self.assertAlmostEqual(
                self.total(samples, "mrpool_command_seconds_sum", operation=way),
                self.total(samples, f"mrpool_unit_{seconds}_total"), places=6)
        self.assertEqual(self.total(samples, "mrpool_unit_storage_errors_total"), 0)
        self.assertEqual(self.total(samples, "mrpool_unit_capacity_bytes", target=self.name[1]),
                         64 << 20)

    def test_storage_errors_are_counted(self):
        # Not by a file that is cut short: the daemon may learn of its size before the command comes.
        disk = self.file("disk", 8 << 20)
        target = self.target(self.storage[0], f"file:{disk}", *HTTP)
        self.fail_writes_beyond(target, 4 << 20)
        self.run_host("write", target, *self.name, "--offset", "6m", data=bytes(1 << 20), expect=1)
        samples = self.metrics(target)
        self.assertGreater(self.total(samples, "mrpool_unit_storage_errors_total"), 0)
        self.assertGreaterEqual(self.total(samples, "mrpool_host_command_errors_total"),
                                self.total(samples, "mrpool_host_storage_errors_total"))

    def test_connections_are_shown_while_they_last(self):
        target = self.target(*self.large_storage, *HTTP)
        process = self.start("perf", target, *self.name, "--time_based", "--runtime", "600",
                             "--eta", "never")
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)

        def connected():
            return self.metrics(target).get("mrpool_host_connections", {})

        until(lambda: sum(connected().values()) > 0, lambda: f"{connected()}")
        status = json.loads(get(url(target) + "status.json"))
        self.assertEqual([each["target"] for each in status["sessions"]], [self.name[1]])
        process.kill()
        until(lambda: sum(connected().values()) == 0, lambda: f"{connected()}")
        self.assertEqual(json.loads(get(url(target) + "status.json"))["sessions"], [])

    def test_prometheus_has_no_complaint_and_every_metric_is_documented(self):
        target = self.target(*self.storage, *HTTP, "--force-mr")
        self.load(target)
        text = get(url(target) + "metrics")
        self.assertEqual(check_metrics(text), "")
        self.assertEqual(families(text) - documented(), set())
        self.assertGreater(self.total(parse(text), "mrpool_pool_gets_total"), 0)

    def test_a_token_is_asked_for(self):
        token = self.folder / "token"
        token.write_text(TOKEN + "\n")
        program, *served = self.target_class.program
        served += ["--listen", "uiwarp://127.0.0.1:0", *self.storage, "--http-token-file", token]
        token.chmod(0o644)
        self.assertIn(f"{token} has mode 0644, so that others can read or change the secret; chmod 0600 {token}",
                      self.refused(program, *served, *HTTP))
        token.chmod(0o600)
        self.assertIn("--http-token-file is of no use without --http", self.refused(program, *served))
        target = self.target(*self.storage, *HTTP, "--http-token-file", token)
        for path in ("metrics", "status.json"):
            self.assertEqual(status_of(url(target) + path), 401)
            self.assertEqual(status_of(url(target) + path, Authorization="Bearer " + TOKEN[1:]), 401)
            self.assertEqual(status_of(url(target) + path, Authorization="Bearer " + TOKEN), 200)
        self.assertEqual(get(url(target) + "health"), "ok\n")
        self.assertNotIn(TOKEN, target.output())

    def test_who_else_can_read_is_said(self):
        target = self.target(*self.storage, "--http", "0.0.0.0:0")
        self.expect_said(target,
                         "--http 0.0.0.0:0: everyone who can reach this address can read the names")
        port = url(target).rsplit(":", 1)[1]
        self.assertIn("mrpool_build_info", get(f"http://127.0.0.1:{port}metrics"))
        quiet = self.target(*self.storage, *HTTP)
        self.assertNotIn("everybody", quiet.output())
        self.assertEqual(status_of(url(quiet) + "metrics", Host="evil.example"), 403)

    def test_an_address_in_use_is_named(self):
        target = self.target(*self.storage, *HTTP)
        where = url(target)[len("http://"):-1]
        program, *served = self.target_class.program
        self.assertIn(f"--http {where}: Address already in use",
                      self.refused(program, *served, "--listen", "uiwarp://127.0.0.1:0",
                                   *self.storage, "--http", where, expect=1))

    def test_scrapes_and_reloads_while_there_is_load(self):
        target = self.target(config=self.configuration(2))
        process = self.start("perf", target, *self.name, "--rw", "randrw", "--time_based",
                             "--runtime", "600", "--eta", "never")
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        last = 0
        for turn in range(6):
            self.configuration(1 + turn % 2)
            self.assertIn("reloaded", target.reload())
            for _ in range(5):
                samples = self.metrics(target)
                now = self.total(samples, "mrpool_host_reads_completed_total")
                self.assertGreaterEqual(now, last)
                last = now
        until(lambda: self.total(self.metrics(target), "mrpool_host_reads_completed_total") > last,
              lambda: "the load stands still")


class Nvmf(Checks, TargetTest):
    def configuration(self, namespaces):
        path = self.folder / "config.json"
        path.write_text(json.dumps({
            "listen": ["uiwarp://127.0.0.1:0"], "threads": 2, "http": "127.0.0.1:0",
            "subsystems": [{"nqn": NQN, "namespaces": [
                {"nsid": i + 1, "storage": f"ram:{i + 1}MiB"} for i in range(namespaces)]}]}))
        return path


class Iser(Checks, IserTargetTest):
    def configuration(self, luns):
        path = self.folder / "config.json"
        path.write_text(json.dumps({
            "listen": ["uiwarp://127.0.0.1:0"], "threads": 2, "http": "127.0.0.1:0",
            "targets": [{"name": IQN, "luns": [f"ram:{i + 1}MiB" for i in range(luns)]}]}))
        return path


class Probes(TargetTest):
    """The probes that docs/operate/tracing.md lists, and the scripts that use them."""

    def trace(self, script, target, program):
        """Runs a script while there is load; what it says until it has seen some, and at its end."""
        said = self.folder / "said"
        with open(said, "w", encoding="utf-8") as out:
            tracer = subprocess.Popen(
                ["bpftrace", "-B", "line", ROOT / "examples/metrics/trace" / script, program],
                stdout=out, stderr=subprocess.STDOUT)
        self.addCleanup(tracer.wait)
        self.addCleanup(tracer.kill)
        until(lambda: "Attaching" in said.read_text() or tracer.poll() is not None,
              said.read_text)
        if tracer.poll() is None:
            for _ in range(3):
                self.perf(target, "--rw", "randrw", "--bs", "16k", "--size", "1MiB")
            tracer.send_signal(signal.SIGINT)
            tracer.wait(timeout=PATIENCE)
        return said.read_text()

    def test_every_probe_is_in_the_program_and_documented(self):
        notes = subprocess.run(["readelf", "-n", BIN / "mrpool-nvmf-target"], capture_output=True,
                               text=True, check=True, timeout=PATIENCE).stdout
        there = set(re.findall(r"Provider: mrpool\s+Name: (\w+)", notes))
        listed = set(re.findall(r"^\| `mrpool:(\w+)`", (ROOT / "docs/operate/tracing.md").read_text(), re.M))
        self.assertEqual(there, listed)
        for script in (ROOT / "examples/metrics/trace").glob("*.bt"):
            asked = set(re.findall(r"^usdt:\$1:mrpool:(\w+)", script.read_text(), re.M))
            self.assertTrue(asked and asked <= there, f"{script}: {asked}")

    def test_scripts_trace_a_load(self):
        program = BIN.resolve() / "mrpool-nvmf-target"
        can = subprocess.run(["bpftrace", "-e", f"usdt:{program}:mrpool:command_begin {{ exit(); }} "
                              "BEGIN { exit(); }"], capture_output=True, text=True, check=False,
                             timeout=PATIENCE)
        if can.returncode != 0:
            self.skipTest("bpftrace cannot attach here: it needs root and a kernel with uprobes")
        target = self.target(*self.large_storage, "--force-mr")
        said = self.trace("command_latency.bt", target, program)
        self.assertRegex(said, r"@microseconds\[1\]", said)
        self.assertRegex(said, r"@microseconds\[2\]", said)
        self.assertNotIn("@failed", said)
        said = self.trace("lease_time.bt", target, program)
        self.assertIn("@lease_microseconds", said)
        self.assertIn("@put_with_live_key: 0\n", said)


class Page(TargetTest):
    """The status page in a browser."""

    def browser(self, *flags):
        browser = Browser(self.folder, *flags)
        self.addCleanup(browser.close)
        return browser

    def keep(self, browser, name):
        folder = os.environ.get("MRPOOL_PICTURES")
        if folder:
            browser.picture(pathlib.Path(folder) / name)

    def test_shows_a_running_load(self):
        target = self.target(*self.large_storage, "--namespace", "null:1GiB", *HTTP, "--threads",
                             "2", "--force-mr")
        load = self.start("perf", target, *self.name, "--rw", "randrw", "--bs", "8k", "--iodepth",
                          "4", "--rate_iops", "500", "--time_based", "--runtime", "600", "--eta",
                          "never")
        self.addCleanup(load.communicate)
        self.addCleanup(load.kill)
        browser = self.browser()
        browser.size(1280, 1100)
        browser.open(url(target))
        points = os.environ.get("MRPOOL_POINTS", "2")
        browser.until(f"Number(document.body.dataset.shown) >= {points}")
        text = browser.run("return document.body.innerText")
        for part in ("mrpool-nvmf-target", NQN, "ram:64MiB", "null:1GiB", "MR pools", "Live"):
            self.assertIn(part, text)
        self.assertGreater(browser.run("return before.sum.reads.completed"), 0)
        self.assertEqual(browser.run("return document.querySelectorAll('.plot canvas, .plot svg').length"), 4)
        self.assertEqual(browser.run(
            "return performance.getEntriesByType('resource')"
            ".filter((r) => !r.name.startsWith(location.origin)).map((r) => r.name)"), [])
        self.assertFalse(browser.run("return document.getElementById('login').checkVisibility()"))
        # Readable by everybody: names of what can be used, one heading of each rank before the next.
        self.assertEqual(browser.run(
            "return [...document.querySelectorAll('button, a, input')]"
            ".filter((e) => !(e.textContent || (e.labels && e.labels.length))).length"), 0)
        self.keep(browser, "status_page.png")
        browser.scheme("dark")
        self.keep(browser, "status_page_dark.png")
        browser.scheme("light")
        browser.size(390, 844)
        # What is wide scrolls inside its box.
        browser.until("document.documentElement.scrollWidth <= 390")
        self.keep(browser, "status_page_phone.png")
        self.assertEqual(browser.said(), [])

    def test_asks_for_the_token(self):
        token = self.folder / "token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        target = self.target(*self.storage, *HTTP, "--http-token-file", token)
        browser = self.browser()
        browser.open(url(target))
        browser.until("!document.getElementById('login').hidden")
        give = ("document.getElementById('token').value = arguments[0];"
                "document.querySelector('#login button').click()")
        browser.run(give, "wrong")
        browser.until("document.getElementById('state').textContent.startsWith('That token')")
        browser.run(give, TOKEN)
        browser.until("!document.getElementById('content').hidden")
        self.assertIn(NQN, browser.run("return document.body.innerText"))


if __name__ == "__main__":
    unittest.main()
