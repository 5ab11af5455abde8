#!/usr/bin/env python3
"""Writes the dashboards of this directory as JSON.

    dashboards/build.py          writes them
    dashboards/build.py --check  lists the JSON files that differ from their source, and exits 1

A new dashboard is a new file here, and its name in SOURCES. Its DASHBOARD is for a host, in
etc/grafana/dashboards/; its CENTRAL is for a central server, in central/dashboards/. A dashboard
that serves both places has a symlink there.
"""

import importlib
import json
import pathlib
import sys

SOURCES = ["service", "pipeline", "host", "fleet"]
ROOT = pathlib.Path(__file__).resolve().parent.parent
DIRECTORIES = {"DASHBOARD": "etc/grafana/dashboards", "CENTRAL": "central/dashboards"}


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
    for name in SOURCES:
        module = importlib.import_module(name)
        for variable, directory in DIRECTORIES.items():
            board = getattr(module, variable, None)
            if board:
                assert board["uid"] == f"metrics-{name}", f"{name}: links need metrics-{name}"
                text = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
                yield ROOT / directory / f"{name}.json", text


main()
