"""One SVG a group: a panel of horizontal bars for each comparison, our bar in colour."""
import html
import math
import statistics

from lib.report import number

WIDTH, LABEL, BAR, GAP, TITLE = 860, 250, 16, 4, 26
OURS, PEER, FLOOR = "#0b6e4f", "#9aa5b1", "#d1a33c"


def colour(name):
    if "mrpool" in name or "uiwarp" in name:
        return OURS
    if "thread-private" in name or "spsc" in name or "bare" in name:
        return FLOOR
    return PEER


def svg(group):
    height = 40 + sum(TITLE + len(p["series"]) * (BAR + GAP) + 12 for p in group.order)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="10" y="22" font-size="16" font-weight="bold">{html.escape(group.title)}</text>']
    y = 40
    for panel in group.order:
        values = {s: group.median(s) for s in panel["series"]}
        most = max(values.values()) or 1
        least = min((v for v in values.values() if v > 0), default=1)
        span = WIDTH - LABEL - 110
        scale = " (log)" if panel["log"] else ""
        y += TITLE
        out.append(f'<text x="10" y="{y - 8}" font-weight="bold">'
                   f'{html.escape(panel["title"])}{scale}</text>')
        for series in panel["series"]:
            value = values[series]
            if panel["log"] and most > least:
                part = 0.05 + 0.95 * math.log(max(value, least) / least) / math.log(most / least)
            else:
                part = value / most
            name = series.split(":", 1)[-1]
            out.append(f'<text x="{LABEL - 8}" y="{y + BAR - 4}" text-anchor="end">'
                       f'{html.escape(name)}</text>')
            out.append(f'<rect x="{LABEL}" y="{y}" width="{max(part * span, 1):.1f}" '
                       f'height="{BAR}" fill="{colour(name)}"/>')
            out.append(f'<text x="{LABEL + part * span + 6:.1f}" y="{y + BAR - 4}">'
                       f'{number(value, group.series[series]["unit"])}</text>')
            y += BAR + GAP
        y += 12
    out.append("</svg>")
    return "\n".join(out) + "\n"


def goals_svg(group):
    """The rows with a goal, as ratios to the peer: median, range of the rounds, goal. None: no such row."""
    rows = [row for row in group.rows if row["goal"] is not None and row["ratio"] is not None]
    if not rows:
        return None
    left, span, step = 440, 235, 27
    # One row far above the others must not flatten them: its bar ends at the edge.
    most = 3 * statistics.median(row["goal"] for row in rows)
    edge = 1.25 * max(min(max(row["goal"], row["ratio"]), most) for row in rows)
    bottom = 52 + step * len(rows)

    def at(value):
        return f"{left + span * min(value, edge) / edge:.0f}"

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 24}" '
           f'font-family="sans-serif" font-size="12" role="img" aria-labelledby="t d">',
           f'<title id="t">{html.escape(group.title)}</title>',
           '<desc id="d">The rows with a goal: medians, ranges and goals.</desc>',
           f'<rect width="{WIDTH}" height="{bottom + 24}" fill="#ffffff"/>',
           f'<text x="16" y="24" font-size="14" font-weight="bold">{html.escape(group.title)}</text>',
           '<text x="16" y="42">bar: median of the ratio to the peer; line: range of the rounds; '
           'red mark: goal</text>']
    for i in range(6):
        x = at(edge * i / 5)
        out.append(f'<path d="M{x} 52 V{bottom}" stroke="#ddd"/>'
                   f'<text x="{x}" y="{bottom + 15}" text-anchor="middle">{edge * i / 5:.3g}</text>')
    for i, row in enumerate(rows):
        y = 59 + step * i
        sign = "≥" if row["goal_kind"] == "at least" else "≤"
        word = "met" if row["met"] else "not met"
        out += [f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{html.escape(row["title"])}</text>',
                f'<rect x="{left}" y="{y}" width="{int(at(row["ratio"])) - left}" height="16" '
                f'fill="#8fb8de"/>',
                f'<path d="M{at(row["ratio_min"])} {y + 8} H{at(row["ratio_max"])}" stroke="#234" '
                f'stroke-width="1.5"/>',
                f'<path d="M{at(row["goal"])} {y - 3} V{y + 19}" stroke="#c22" stroke-width="2.5"/>',
                f'<text x="{left + span + 14}" y="{y + 12}">{row["ratio"]:.2f} '
                f'(goal {sign} {row["goal"]:g}: {word})</text>']
    out.append("</svg>")
    return "\n".join(out) + "\n"
