#!/usr/bin/env python3
"""Writes the dashboards of this folder as JSON: to etc/grafana/dashboards/ those that a host has for itself, and to
central/dashboards/ those for a Grafana that has many hosts.

    dashboards/build.py          writes them
    dashboards/build.py --check  says which shipped file differs from its source, and exits 1

A new dashboard is a new file here, and its name in SOURCES. Its DASHBOARD is for a host; so is it for many, unless there is a
CENTRAL for these, and nothing else where there is only that.
"""

import importlib
import json
import pathlib
import sys

SOURCES = ["service", "pipeline", "host", "fleet"]
ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCAL, CENTRAL = ROOT / "etc/grafana/dashboards", ROOT / "central/dashboards"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    sys.dont_write_bytecode = True
    stale = []
    for path, text in files():
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path)
    for path in stale:
        print(f"{path} differs from its source: run dashboards/build.py", file=sys.stderr)
    sys.exit(1 if stale else 0)


def files():
    grafana = importlib.import_module("grafana")
    for name in SOURCES:
        module = importlib.import_module(name)
        local, many = getattr(module, "DASHBOARD", None), getattr(module, "CENTRAL", None)
        if local:
            yield LOCAL / f"{name}.json", json.dumps(local, indent=2, ensure_ascii=False) + "\n"
        board = grafana.central(many or local)
        # A line for each panel: they are in most what those of a host are, and nobody should have to read them twice.
        panels = ",\n".join(json.dumps(panel, ensure_ascii=False) for panel in board.pop("panels"))
        rest = json.dumps(board, indent=2, ensure_ascii=False).removesuffix("\n}")
        yield CENTRAL / f"{name}.json", f'{rest},\n  "panels": [\n{panels}\n  ]\n}}\n'


main()
