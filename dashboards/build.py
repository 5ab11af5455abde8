#!/usr/bin/env python3
"""Writes the dashboards of this folder to etc/grafana/dashboards/ as JSON, which is what ships.

    dashboards/build.py          writes them
    dashboards/build.py --check  says which shipped file differs from its source, and exits 1

A new dashboard is a new file here with a DASHBOARD in it, and its name in SOURCES.
"""

import importlib
import json
import pathlib
import sys

SOURCES = ["service", "pipeline", "host"]
TARGET = pathlib.Path(__file__).resolve().parent.parent / "etc/grafana/dashboards"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    sys.dont_write_bytecode = True
    stale = []
    for name in SOURCES:
        text = json.dumps(importlib.import_module(name).DASHBOARD, indent=2, ensure_ascii=False) + "\n"
        shipped = TARGET / f"{name}.json"
        if not check:
            shipped.write_text(text)
        elif not shipped.exists() or shipped.read_text() != text:
            stale.append(shipped)
    for path in stale:
        print(f"{path} differs from its source: run dashboards/build.py", file=sys.stderr)
    sys.exit(1 if stale else 0)


main()
