"""What a results file says of its run: machine, versions, commit. No names of machines, users or paths."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness.server import version_of
from benchmarks.harness.system import ROOT, System


def about_run(binary: str, *, quick: bool) -> dict:
    return {
        "quick": quick,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "server": version_of(binary),
        "machine": {
            "cpus": os.cpu_count(),
            "cpu": _cpu_model(),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
            "system": f"{platform.system()} {platform.release()}",
        },
        "systems": {},
        "skipped": {},
        "jobs": {},
    }


def about_system(system: System) -> dict:
    """What the adapter tells, and its interpreter's version."""
    version = subprocess.run(
        [system.command[0], "--version"], capture_output=True, text=True, timeout=10, check=True
    ).stdout
    return {**system.describe(), "runs_on": version.strip()}


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
