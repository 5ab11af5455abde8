"""Draws the results as an SVG of two panels: requests per second, and 99th percentiles.

Usage: chart.py RESULTS.json CHART.svg
"""

import math
import sys

from results import Results

WIDTH, PANEL, LEFT, BAR, GAP = 800, 190, 20, 40, 28
# Colours that differ in brightness too, on white and on black.
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: bold; font-size: 14px }
  .value { font-size: 10px; text-anchor: middle } .group { text-anchor: middle } line { stroke: #888 }
  .s0 { fill: #d9480f } .s1 { fill: #1971c2 } .s2 { fill: #63a4e0 } .s3 { fill: #999 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .s0 { fill: #ff8c42 } .s1 { fill: #4c8fd6 } .s2 { fill: #9cc8f2 }
  }"""


def main():
    results = Results(sys.argv[1])
    parts = [legend(results)]
    parts += panel(
        results, 40, "Requests per second, GET / (more is better)",
        lambda name, connections: results.rate(name, connections).median, share=lambda value, top: value / top,
        label=lambda value: f"{value / 1000:.1f}k",
    )
    parts += panel(
        results, 70 + PANEL, "99th percentile of the latency, logarithmic (less is better)",
        lambda name, connections: results.load(name, connections, "p99").median,
        # From 0.01 ms up.
        share=lambda value, top: math.log10(max(value, 11) / 10) / math.log10(top / 10),
        label=lambda value: f"{value / 1000:.2g} ms" if value < 10000 else f"{value / 1000:.0f} ms",
    )
    height = 100 + 2 * PANEL
    with open(sys.argv[2], "w") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="Requests per second and latency of the four services">\n<style>{STYLE}\n</style>\n'
            + "\n".join(parts) + "\n</svg>\n"
        )


def legend(results):
    """The names beside their colours."""
    return "\n".join(
        f'<rect class="s{index}" x="{LEFT + 130 * index}" y="8" width="12" height="12"/>'
        f'<text x="{LEFT + 130 * index + 18}" y="18">{name}</text>'
        for index, name in enumerate(results.names)
    )


def panel(results, top, title, value_of, share, label):
    """A group of bars for each number of connections."""
    highest = max(value_of(name, count) for name in results.names for count in results.connections)
    room, base = PANEL - 50, top + PANEL - 20
    yield f'<text class="title" x="{LEFT}" y="{top + 12}">{title}</text>'
    for group, connections in enumerate(results.connections):
        start = LEFT + group * (len(results.names) * BAR + GAP)
        for index, name in enumerate(results.names):
            value = value_of(name, connections)
            height, x = room * share(value, highest), start + index * BAR
            yield f'<rect class="s{index}" x="{x}" y="{base - height:.1f}" width="{BAR - 4}" height="{height:.1f}"/>'
            yield f'<text class="value" x="{x + BAR / 2 - 2}" y="{base - height - 4:.1f}">{label(value)}</text>'
        middle = start + len(results.names) * BAR / 2
        yield f'<text class="group" x="{middle}" y="{base + 15}">{connections} connection{"s"[:connections - 1]}</text>'
    yield f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - LEFT}" y2="{base}"/>'


if __name__ == "__main__":
    main()
