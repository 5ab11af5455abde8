"""What a figure depends on: machine, kernel, versions."""

import datetime
import json
import os
import pathlib
import re
import subprocess

from servers import BUILT, HERE

PYTHON_PACKAGES = ["fastapi", "uvicorn", "uvloop", "httptools", "prometheus_client"]


def describe():
    """All of it, as the results say it."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    system = re.search('PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())[1]
    return {
        "date": datetime.date.today().isoformat(),
        "processor": re.search(r"model name\s*: (.*)", cpuinfo)[1],
        "virtual": " hypervisor " in cpuinfo,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e6),
        "system": system,
        "kernel": re.match(r"[\d.]+\d", os.uname().release)[0],
        "load_before": os.getloadavg()[0],
        "versions": versions(),
        "builds": json.loads((BUILT / "builds.json").read_text()),
    }


def versions():
    """What each server is made of, and the generator."""
    rust = said("rustc", "--version").split()[1]
    python = said(BUILT / "venv/bin/python", "--version").split()[1]
    go = said("go", "version").split()[2].removeprefix("go")
    client_golang = re.search(r"client_golang v(\S+)", (HERE / "go/go.mod").read_text())[1]
    pinned = dict(re.findall(r"^(\w+)==(.*)", (HERE / "fastapi/requirements.txt").read_text(), re.MULTILINE))
    sources = ["--", "../src", "../Cargo.toml", "../Cargo.lock"]
    commit = said("git", "-C", HERE, "log", "-1", "--format=%h", *sources)
    changed = " with changes" * bool(said("git", "-C", HERE, "status", "--short", *sources))
    return {
        "metrics-service": f"commit {commit}{changed}, Rust {rust}, {locked(HERE.parent, 'tiny_http', 'prometheus')}",
        "Go": f"Go {go}, net/http, client_golang {client_golang}",
        "axum": f"Rust {rust}, {locked(HERE / 'axum', 'axum', 'hyper', 'tokio', 'prometheus')}",
        "FastAPI": f"Python {python}, "
        + ", ".join(f"{name} {pinned[name]}" for name in PYTHON_PACKAGES),
        "wrk": said("wrk", "-v").split()[1].removeprefix("debian/"),
    }


def locked(folder, *names):
    """Name and version of crates in a folder's lock file."""
    lock = (folder / "Cargo.lock").read_text()
    return ", ".join(f"{name} " + re.search(rf'name = "{name}"\nversion = "(.*)"', lock)[1] for name in names)


def said(*command):
    """What a program prints."""
    # wrk ends with 1 after it has told its version.
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
