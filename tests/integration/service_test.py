#!/usr/bin/env python3
"""The daemons as services: their logs. The same tests for both, one class a ctest
(CMakeLists.txt)."""
import json
import os
import unittest

from harness import BIN, IQN, NQN, IserTargetTest, TargetTest, until


class Logs:
    """Structured logs: who came, who left, who was refused, and what went wrong."""

    def entries(self, target):
        """The lines of stderr, which are JSON; those of stdout are not."""
        return [json.loads(line) for line in target.output().splitlines() if line.startswith("{")]

    def expect_entry(self, daemon, /, **fields):
        def matches(entry):
            return all(entry.get(key) == value for key, value in fields.items())
        until(lambda: any(map(matches, self.entries(daemon))),
              lambda: f"no entry {fields}:\n{daemon.output()}")
        return next(filter(matches, self.entries(daemon)))

    def test_entries_have_fields(self):
        target = self.target(*self.storage, "--log-format", "json")
        started = self.expect_entry(target, event="started", level="notice")
        self.assertRegex(started["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        came = self.expect_entry(target, event="host_connected", level="notice", host=self.host,
                                 target=self.served)
        self.assertRegex(came["peer"], r"^127\.0\.0\.1:\d+$")
        self.assertIn(self.host, came["message"])
        self.expect_entry(target, event="host_disconnected", host=self.host, target=self.served)

    def test_refused_logins_are_entries(self):
        target = self.target(*self.storage, "--log-format", "json", *self.others_only)
        self.run_host("read", target, *self.name, "--size", "4096", *self.named, expect=3)
        refused = self.expect_entry(target, event="login_refused", level="warning", host=self.host)
        self.assertIn("refused", refused["message"])

    def test_journal_lines_have_priorities(self):
        target = self.target(*self.storage, "--log-format", "journal")
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        until(lambda: "\n<5>127.0.0.1:" in target.output(), target.output)
        self.assertIn("\n<5>mrpool-", target.output())

    def test_the_level_says_how_much(self):
        quiet = self.target(*self.storage, "--log-level", "error")
        self.run_host("read", quiet, *self.name, "--size", "4096", *self.named)
        talkative = self.target(*self.storage, "--log-level", "info")
        self.run_host("read", talkative, *self.name, "--size", "4096", *self.named)
        self.expect_said(talkative, self.host)
        self._end(quiet)
        self.assertNotIn(self.host, quiet.output())

    def test_a_reload_changes_the_level(self):
        path = self.folder / "target.json"

        def configure(**keys):
            new = self.folder / "target.new"
            new.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], **keys, **self.served_as}))
            os.replace(new, path)
            return path

        target = self.target(config=configure(log_level="error"))
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        configure(log_level="notice")
        self.assertIn("reloaded", target.reload())
        self.assertNotIn(self.host, target.output())
        self.run_host("read", target, *self.name, "--size", "4096", *self.named)
        self.expect_said(target, self.host)
        configure(log_format="json")
        until(lambda: "log_format cannot change" in target.reload(), target.output)

    def test_failed_and_slow_requests_are_reported(self):
        disk = self.file("disk", 4 << 20)
        target = self.target(self.storage[0], f"file:{disk},bs=4096", "--log-format", "json",
                             "--slow-command", "1ms")
        os.truncate(disk, 0)
        self.run_host("read", target, *self.name, "--offset", str(2 << 20), "--size", "4096",
                      *self.named, expect=self.cut_status)
        self.expect_entry(target, event="store_error", level="error", store=f"file:{disk},bs=4096")

    def test_a_wrong_word_is_refused(self):
        program, *names = self.target_class.program
        said = self.refused(program, *names, *self.storage, "--listen", "uiwarp://127.0.0.1:0",
                            "--log-format", "xml")
        self.assertIn("xml", said)
        path = self.folder / "wrong.json"
        path.write_text(json.dumps({"listen": ["uiwarp://127.0.0.1:0"], "log_level": "loud",
                                    **self.served_as}))
        said = self.refused(program, "--config", path)
        self.assertIn('"loud" is none of error, warning, notice, info, debug', said)


class NvmfLogs(Logs, TargetTest):
    host = "nqn.2026-11.org.example:host"
    served = NQN
    named = ["--host-nqn", host]
    others_only = ["--host-nqn", "nqn.2026-11.org.example:other"]
    served_as = {"subsystems": [{"nqn": NQN, "namespaces": [{"storage": "ram:1MiB"}]}]}
    cut_status = 1


class IserLogs(Logs, IserTargetTest):
    host = "iqn.2026-11.org.example:host"
    served = IQN
    named = ["--initiator", host]
    others_only = ["--initiator", "iqn.2026-11.org.example:other"]
    served_as = {"targets": [{"name": IQN, "luns": ["ram:1MiB"]}]}
    cut_status = 1


if __name__ == "__main__":
    assert BIN.exists()
    unittest.main()
