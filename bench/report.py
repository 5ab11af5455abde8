"""Writes the results as Markdown.

Usage: report.py RESULTS.json RESULTS.md
"""

import sys

from results import Results

# The kernel's kilobytes in megabytes.
KILOBYTES = 1024e-6

METHOD = """
## Method

The same service four times: the same routes, the same JSON, the same metrics with the same labels, buckets and zeros from the start, each
as its users would write it. `same.py` compares their answers and their series before anything is measured. All of them are built for
release, log no line per request, and listen on 127.0.0.1.

**Servers and generator share the same {cores} cores**; nothing is pinned. The generator is wrk, with two threads (one for one connection),
each connection asking again as soon as it is answered: latencies under full load are those of a closed loop. A round starts all
four anew, lets them rest for a second, and loads one at a time for {seconds} s, with each number of connections in turn; who comes first
changes each time. {rounds} round{s}: figures are the median and, in brackets, the least and the most.

- *first answer*: the slowest of so many keep-alive connections that a client of our own opens at once, asks once on each and keeps open.
  A second more means that the listener's queue was full and the connection had to be tried again: axum's is of 128.
- *left waiting*: connections of wrk that had received nothing for a second when the kernel was asked (`ss`), once a second during
  the load; the most of all rounds.
- *CPU*: processor time of the server, user and system, by request answered.
- */metrics*: wrk with one connection, on servers that have answered so many requests over all label sets (those of the measurement come on top).
- *build*: from nothing, with all sources downloaded before. For FastAPI, making the virtual environment; its size is without Python's own.

`./bench/run.sh` repeats all of this.
"""


def main():
    results = Results(sys.argv[1])
    machine, rounds = results.machine, results.all["rounds"]
    text = [
        "# The service beside its peers",
        f"Measured {machine['date']}: {machine['processor']}, {machine['cores']} cores"
        f"{' of a virtual machine' * machine['virtual']}, {machine['memory_gb']} GB, {machine['system']}, "
        f"Linux {machine['kernel']}; load average before the start {machine['load_before']:.2f}.",
        "![requests per second and latency](results.svg)",
        "## Bars",
        *table(["bar", "measured", ""], bars(results)),
        "## `GET /`",
    ]
    for connections in results.connections:
        text += [f"### {connections} connection{'s'[:connections - 1]}", *table(
            ["", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/request", "first answer ms", "left waiting"],
            [load(results, name, connections) for name in results.names],
        )]
    text += ["## Process", *table(
        ["", "start to first answer, ms", "RSS idle, MB", "after 64 connections, MB", "after 256, MB", "size, MB", "build, s"],
        [process(results, name) for name in results.names],
    )]
    text += ["## `GET /metrics` on a kept connection", *table(
        ["", *(f"p50 ms, {int(count):,} requests" for count in results.counts), "size, kB"],
        [scrapes(results, name) for name in results.names],
    )]
    text.append(METHOD.strip().format(
        cores=machine["cores"], seconds=results.all["seconds"], rounds=rounds, s="s"[:rounds - 1],
    ))
    text += ["## Versions", *table(["", ""], [[name, version] for name, version in machine["versions"].items()])]
    with open(sys.argv[2], "w") as file:
        file.write("\n\n".join(text) + "\n")


def table(head, rows):
    """A table as one paragraph."""
    lines = [head, ["---"] * len(head), *rows]
    yield "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def bars(results):
    """What the service is to hold, what it does, and whether that is enough."""
    ours, go, axum, fastapi = results.names
    rate = {name: results.rate(name, 64).median for name in results.names}
    p99 = {name: results.load(name, 16, "p99").median / 1000 for name in results.names}
    first = max(results.load(ours, connections, "first").most for connections in results.connections)
    waiting = max(results.load(ours, connections, "waiting").most for connections in results.connections)
    idle = results.server(ours, "idle").median * KILOBYTES
    after, after_most = (results.load(ours, count, "rss").median * KILOBYTES for count in (64, 256))
    scrape = max(results.metrics(ours, count, "p50").median / 1000 for count in results.counts)
    rows = [
        ("requests/s at 64 connections at least Go's", f"{rate[ours] / rate[go]:.2f} ×", rate[ours] >= rate[go]),
        ("… and at least 20 × FastAPI's", f"{rate[ours] / rate[fastapi]:.1f} ×", rate[ours] >= 20 * rate[fastapi]),
        ("every connection's first answer within 1 s, none left waiting later",
         f"{first * 1000:.0f} ms, {waiting}", first <= 1 and waiting == 0),
        ("the lowest p99 of the four at 16 connections",
         f"{p99[ours]:.2f} ms; {', '.join(f'{name} {p99[name]:.2f}' for name in (go, axum, fastapi))}",
         p99[ours] == min(p99.values())),
        ("RSS idle at most 5 MB", f"{idle:.1f} MB", idle <= 5),
        ("RSS after the load of 64 connections at most 10 MB",
         f"{after:.1f} MB (after 256: {after_most:.1f} MB)", after <= 10),
        ("/metrics p50 on a kept connection at most 0.3 ms", f"{scrape:.2f} ms", scrape <= 0.3),
    ]
    return [(bar, measured, "✓" if held else "✗") for bar, measured, held in rows]


def load(results, name, connections):
    """A row of the table for this number of connections."""
    def figure(what, scale):
        return results.load(name, connections, what).text(scale)

    waiting, errors = (results.load(name, connections, what).most for what in ("waiting", "errors"))
    return [
        name, results.rate(name, connections).text(),
        figure("p50", 1e-3), figure("p99", 1e-3), figure("p999", 1e-3),
        results.cpu(name, connections).text(1e6), figure("first", 1e3),
        f"{waiting}" + f", {errors} errors" * (errors > 0),
    ]


def process(results, name):
    """A row of the table of processes."""
    build = results.machine["builds"][name]
    return [
        name, results.server(name, "start").text(1e3),
        results.server(name, "idle").text(KILOBYTES),
        *(results.load(name, count, "rss").text(KILOBYTES) for count in (64, 256)),
        f"{build['bytes'] / 1e6:.1f}", f"{build['seconds']:.0f}",
    ]


def scrapes(results, name):
    """A row of the table of /metrics."""
    sizes = [results.metrics(name, count, "bytes").median / 1000 for count in results.counts]
    p50s = [results.metrics(name, count, "p50").text(1e-3) for count in results.counts]
    return [name, *p50s, f"{min(sizes):.1f}–{max(sizes):.1f}"]


if __name__ == "__main__":
    main()
