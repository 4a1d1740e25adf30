"""The table of ratios as text, and what machine and versions it was measured with."""
import os
import platform
import subprocess


def number(value, unit):
    if value is None:
        return "-"
    if unit == "B/s":
        return f"{value / 2**30:.2f} GiB/s"
    if unit == "/s":
        for scale, suffix in ((1e6, " M/s"), (1e3, " k/s")):
            if value >= scale:
                return f"{value / scale:.3g}{suffix}"
        return f"{value:.3g} /s"
    if unit == "ns" and value >= 10000:
        return f"{value / 1e6:.2f} ms" if value >= 1e6 else f"{value / 1e3:.1f} us"
    if unit == "B":
        return f"{value / 1024:.1f} KiB" if value >= 1024 else f"{value:.0f} B"
    if value and abs(value) < 0.1:
        return f"{value:.4f} {unit}".rstrip()
    return f"{value:.4g} {unit}".rstrip()


def verdict(row):
    if row["met"] is None:
        return ""
    return "met" if row["met"] else "not met"


HEADER = ("", "ours", "peer", "ratio", "(min..max)", "goal", "verdict")


def cells(row):
    """The columns of a row, as text."""
    ratio = row["ratio"]
    goal = row["goal"]
    return (row["title"], number(row["ours_median"], row["unit"]),
            number(row["peer_median"], row["unit"]),
            "-" if ratio is None else f"{ratio:.2f}",
            "" if ratio is None else f"({row['ratio_min']:.2f}..{row['ratio_max']:.2f})",
            "" if goal is None else f"{'<=' if row['goal_kind'] == 'at most' else '>='} {goal:g}",
            verdict(row))


def goals_met(groups):
    goals = [row for group in groups for row in group.rows if row["met"] is not None]
    met = sum(1 for row in goals if row["met"])
    return f"{met} of {len(goals)} goals met"


def table(groups):
    lines = []
    for group in groups:
        rows = [cells(row) for row in group.rows]
        lines.append(f"{group.title}  ({group.rounds} rounds, medians)")
        if rows:
            widths = [max(len(r[i]) for r in [HEADER, *rows]) for i in range(len(HEADER))]
            for r in [HEADER, *rows]:
                texts = [r[0].ljust(widths[0])] + [r[i].rjust(widths[i]) for i in range(1, 7)]
                lines.append("  " + "  ".join(texts).rstrip())
        for row in group.rows:
            if row["limit"]:
                lines.append(f"  {row['title']}: {row['limit']}")
        for note in group.notes:
            lines.append(f"  note: {note}")
        lines.append("")
    lines.append(goals_met(groups))
    return "\n".join(lines)


def markdown(groups):
    """The same tables for a page of docs/log."""
    lines = []
    for group in groups:
        lines += [f"## {group.title}", "", f"    tests/bench/run {group.name}", ""]
        if group.rows:
            lines += [f"| {' | '.join(HEADER)} |", "| " + " | ".join(["---"] * len(HEADER)) + " |"]
            lines += [f"| {' | '.join(cells(row))} |" for row in group.rows]
            lines.append("")
        for note in group.notes:
            lines += [f"Note: {note}.", ""]
    return "\n".join(lines)


def output_of(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
        return done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), platform.processor())
    memory = next((int(line.split()[1]) // 2**20 for line in open("/proc/meminfo", encoding="utf-8")
                   if line.startswith("MemTotal")), 0)
    return {"cpu": cpu, "cpus": os.cpu_count(), "memory_gib": memory, "kernel": platform.release(),
            "load_at_start": os.getloadavg()[0]}


def versions():
    packages = ("g++", "libboost1.81-dev", "libbenchmark-dev", "libdpdk-dev", "libtbb-dev",
                "libconcurrentqueue-dev", "liburing-dev", "libisal-dev", "fio")
    found = {}
    for package in packages:
        found[package] = output_of("dpkg-query", "-W", "-f", "${Version}", package) or "absent"
    found["mrpool"] = output_of("git", "describe", "--always", "--dirty") or "unknown"
    return found
