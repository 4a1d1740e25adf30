"""One SVG a group: a panel of horizontal bars for each comparison, our bar in colour."""
import html
import math

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
