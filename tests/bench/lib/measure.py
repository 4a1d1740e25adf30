"""Rounds, samples, medians and rows: how every figure of tests/bench/run is made.

A group runs its programs round by round, ours and the peers in turn (the order is reversed in every
other round), and adds what each printed as samples of a series. A row compares two series: its
ratio is the median of the rounds' own ratios, so that a drift of the machine between rounds cancels.
"""
import json
import os
import shlex
import statistics
import subprocess
import sys
import time


def progress(text):
    print(text, file=sys.stderr, flush=True)


class Group:
    """What one group measured. `title` heads its table and plot."""

    def __init__(self, name, title, rounds, quick, bin_dir, first=False):
        self.name = name
        self.title = title
        self.rounds = rounds
        self.quick = quick
        self.bin = bin_dir
        # Round robin, not first in, first out: a program's helper threads must run beside its loop.
        self.prefix = ["chrt", "-r", "10"] if first else []
        self.series = {}  # name → {"unit": …, "samples": [one a round]}
        self.rows = []
        self.notes = []
        self.commands = {}  # series → the command that measured it
        self.order = []  # panels of the plot: (title, unit, [series], scale)

    def command(self, program, *args):
        return [*self.prefix, os.path.join(self.bin, program), *map(str, args)]

    def has(self, program):
        return os.path.exists(os.path.join(self.bin, program))

    def run(self, argv, timeout=120, env=None):
        """Runs a program that prints JSON; its stderr is shown when it fails."""
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False,
                              env={**os.environ, **(env or {})})
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(argv)} exited with {done.returncode}: "
                               f"{done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout)

    def sample(self, series, value, unit, command=None):
        entry = self.series.setdefault(series, {"unit": unit, "samples": []})
        entry["samples"].append(float(value))
        if command:
            self.commands[series] = shlex.join(map(str, command))

    def in_rounds(self, jobs):
        """jobs: callables that each add one sample to their series."""
        for number in range(self.rounds):
            started = time.monotonic()
            for job in jobs if number % 2 == 0 else reversed(jobs):
                job()
            progress(f"  {self.name}: round {number + 1} of {self.rounds}, "
                     f"{time.monotonic() - started:.1f} s")

    def median(self, series):
        return statistics.median(self.series[series]["samples"])

    def panel(self, title, series, log=False):
        """A panel of the group's plot: one bar a series."""
        present = [s for s in series if s in self.series]
        if present:
            self.order.append({"title": title, "series": present, "log": log})

    def row(self, title, ours, peer, goal=None, at_most=True, invert=False, why=None):
        """ours / peer (peer / ours when `invert`) against `goal`. A row without goal informs."""
        if ours not in self.series or peer not in self.series:
            missing = ours if ours not in self.series else peer
            self.notes.append(f"{title}: not measured ({missing} is missing)")
            return
        pairs = zip(self.series[ours]["samples"], self.series[peer]["samples"])
        ratios = [(b / a if invert else a / b) for a, b in pairs if a and b]
        ratio = statistics.median(ratios)
        met = None if goal is None else (ratio <= goal if at_most else ratio >= goal)
        self.rows.append({
            "group": self.name, "title": title, "ours": ours, "peer": peer,
            "ours_median": self.median(ours), "peer_median": self.median(peer),
            "unit": self.series[ours]["unit"], "ratio": ratio,
            "ratio_min": min(ratios), "ratio_max": max(ratios),
            "goal": goal, "goal_kind": "at most" if at_most else "at least",
            "met": met, "limit": why if met is False else None,
        })

    def figure(self, title, series, goal=None, at_most=True, why=None):
        """A figure that has no peer: a count, bytes."""
        if series not in self.series:
            self.notes.append(f"{title}: not measured")
            return
        value = self.median(series)
        met = None if goal is None else (value <= goal if at_most else value >= goal)
        self.rows.append({
            "group": self.name, "title": title, "ours": series, "peer": None,
            "ours_median": value, "peer_median": None, "unit": self.series[series]["unit"],
            "ratio": None, "ratio_min": None, "ratio_max": None,
            "goal": goal, "goal_kind": "at most" if at_most else "at least",
            "met": met, "limit": why if met is False else None,
        })

    def to_json(self):
        return {"name": self.name, "title": self.title, "rounds": self.rounds,
                "series": {k: {**v, "median": self.median(k), "command": self.commands.get(k)}
                           for k, v in self.series.items()},
                "rows": self.rows, "notes": self.notes}
