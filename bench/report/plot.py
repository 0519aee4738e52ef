"""Throughput and latency against concurrency as one SVG: two panels over one logarithmic axis. Nothing but the standard
library, and readable as text."""
import math
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP, BOTTOM = 720, 230, 76, 24, 44, 34, 52
THROUGHPUT, P50, P99 = '#1b6ca8', '#2a7f3f', '#b3541e'


def nice_ticks(most, count=5):
    """Round numbers from 0 to above `most`."""
    raw = most / count if most > 0 else 1
    step = 10 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= raw)
    return [i * step for i in range(math.ceil(most / step) + 1)]


def decades(least, most):
    """Powers of ten around the values, which may be one only."""
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0 ** e for e in range(low, max(high, low + 1) + 1)]


def number(value):
    return '%d' % value if value >= 1 else '%g' % value


class Svg:
    def __init__(self, height):
        self.height, self.parts = height, []

    def line(self, x1, y1, x2, y2, colour='#dddddd'):
        self.parts.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>' % (x1, y1, x2, y2, colour))

    def text(self, x, y, text, anchor='middle', size=12, colour='#333333', more=''):
        self.parts.append('<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d" fill="%s"%s>%s</text>' % (x, y, anchor, size, colour, more, escape(text)))

    def series(self, points, colour):
        self.parts.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (colour, ' '.join('%.1f,%.1f' % p for p in points)))
        for x, y in points:
            self.parts.append('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (x, y, colour))

    def whole(self):
        return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif">\n'
                '<rect width="100%%" height="100%%" fill="white"/>\n%s\n</svg>\n') % (WIDTH, self.height, WIDTH, self.height, '\n'.join(self.parts))


def throughput_and_latency(sweep, title):
    """`sweep`: rows with concurrency, rate, p50_ms and p99_ms, one at least."""
    out = Svg(TOP + 2 * PANEL + GAP + BOTTOM)
    steps = [row['concurrency'] for row in sweep]
    span = math.log2(max(steps) / min(steps)) or 1
    x = lambda step: LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * math.log2(step / min(steps)) / span
    out.text(LEFT, 24, title, 'start', 15)

    def frame(top, ticks, y, label):
        for tick in ticks:
            out.line(LEFT, y(tick), WIDTH - RIGHT, y(tick))
            out.text(LEFT - 8, y(tick) + 4, number(tick), 'end')
        for step in steps:
            out.line(x(step), top, x(step), top + PANEL, '#eeeeee')
        out.line(LEFT, top, LEFT, top + PANEL, '#333333')
        out.line(LEFT, top + PANEL, WIDTH - RIGHT, top + PANEL, '#333333')
        middle = top + PANEL / 2
        out.text(18, middle, label, more=' transform="rotate(-90 18 %.1f)"' % middle)

    ticks = nice_ticks(max(row['rate'] for row in sweep))
    upper = lambda v: TOP + PANEL * (1 - v / ticks[-1])
    frame(TOP, ticks, upper, 'attestations/s')
    out.series([(x(row['concurrency']), upper(row['rate'])) for row in sweep], THROUGHPUT)

    top = TOP + PANEL + GAP
    least = max(min(row['p50_ms'] for row in sweep), 0.01)
    ticks = decades(least, max(least, *(row['p99_ms'] for row in sweep)))
    lower = lambda v: top + PANEL * (1 - math.log10(max(v, ticks[0]) / ticks[0]) / math.log10(ticks[-1] / ticks[0]))
    frame(top, ticks, lower, 'latency, ms')
    for name, colour, down in (('p99', P99, -9), ('p50', P50, 18)):
        points = [(x(row['concurrency']), lower(row[name + '_ms'])) for row in sweep]
        out.series(points, colour)
        out.text(points[-1][0] - 4, points[-1][1] + down, name, 'end', 12, colour)
    for step in steps:
        out.text(x(step), top + PANEL + 18, str(step))
    out.text((LEFT + WIDTH - RIGHT) / 2, top + PANEL + 40, 'attestations at a time')
    return out.whole()
