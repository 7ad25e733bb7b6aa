"""Each system's own environment, in a cache folder outside the repository: a venv, or node modules."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.error import Failed
from benchmarks.harness.system import ADAPTERS, CACHE, ROOT, System

_INSTALL_LIMIT_S = 900
_PROBE_LIMIT_S = 10
_NEEDS = re.compile(r"#\s*python\s*>=\s*3\.(\d+)")
_PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")
_TAIL = 400

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that can make venvs."""

    path: str
    version: Version


def set_up(name: str, adapter: Path) -> None:
    """Make the environment of a system, or bring it up to date.

    Raises:
        Failed: it cannot be had here, and why.
    """
    if adapter.suffix == ".mjs":
        _set_up_node(name, adapter)
    else:
        _set_up_venv(name)


def ready(name: str, adapter: Path) -> System:
    """The system, as `set_up` made it.

    Raises:
        Failed: it was not set up.
    """
    folder = _folder(name)
    if adapter.suffix == ".mjs":
        if not (folder / "node_modules").exists():
            raise Failed(f"not set up; run: python -m benchmarks setup {name}")
        # Modules are found from where a script lies.
        for each in (adapter, *ADAPTERS.glob("*.mjs")):
            shutil.copy(each, folder)
        return System(name, (_find_node(), str(folder / adapter.name)))
    if _installed(folder) != _wanted(name):
        raise Failed(f"not set up, or for other requirements; run: python -m benchmarks setup {name}")
    return System(name, (str(folder / "bin" / "python"), str(adapter)))


def _set_up_venv(name: str) -> None:
    folder, wanted = _folder(name), _wanted(name)
    if _installed(folder) != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        interpreter = _interpreter_for(wanted)
        folder.mkdir(parents=True)
        _run([interpreter.path, "-m", "venv", str(folder)], "venv")
        _pip(folder, _requirements(name))
        _marker(folder).write_text(wanted)
    elif name == "jobqueue":
        _pip(folder, _requirements(name))  # the checkout may have changed


def _pip(folder: Path, requirements: list[Path]) -> None:
    files = [part for each in requirements for part in ("-r", str(each))]
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *files], "pip")


def _set_up_node(name: str, adapter: Path) -> None:
    _find_node()
    npm = shutil.which("npm")
    if npm is None:
        raise Failed("npm is not on PATH")
    folder, package = _folder(name), ADAPTERS / f"{name}.json"
    if (folder / "node_modules").exists() and _installed(folder) == package.read_text():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(package, folder / "package.json")
    _run([npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent"], "npm")
    _marker(folder).write_text(package.read_text())


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_INSTALL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{what} took longer than {_INSTALL_LIMIT_S} s") from None
    if done.returncode:
        raise Failed(f"{what} failed: {(done.stderr or done.stdout)[-_TAIL:].strip()}")


def _interpreter_for(requirements: str) -> Interpreter:
    """The harness's own version where it will do, so that most systems have the same; else the lowest that will."""
    found = _interpreters()
    needed = (3, max([int(minor) for minor in _NEEDS.findall(requirements)], default=0))
    fitting = [each for each in found if each.version >= needed]
    if not fitting:
        have = ", ".join(f"{major}.{minor}" for major, minor in sorted(each.version for each in found))
        raise Failed(f"needs Python >= {needed[0]}.{needed[1]}, found {have}; set JOBQUEUE_BENCH_PYTHONS")
    return min(fitting, key=lambda each: (each.version != sys.version_info[:2], each.version))


def _interpreters() -> list[Interpreter]:
    """From JOBQUEUE_BENCH_PYTHONS, PATH, and this one."""
    named = os.environ.get("JOBQUEUE_BENCH_PYTHONS", "").split(os.pathsep)
    on_path = [shutil.which(name) for name in _PYTHONS]
    candidates = [sys.executable, *filter(None, named), *filter(None, on_path)]
    probed = [(path, _version_of(path)) for path in dict.fromkeys(candidates)]
    return [Interpreter(path, version) for path, version in probed if version is not None]


def _version_of(python: str) -> Version | None:
    probe = "import sys, venv; print(*sys.version_info[:2])"
    try:
        told = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=_PROBE_LIMIT_S, check=True)
        major, minor = told.stdout.split()
        return int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _requirements(name: str) -> list[Path]:
    if name.startswith("floor_"):
        return sorted(ADAPTERS.glob("floor_*.txt"))
    return [ADAPTERS / f"{name}.txt"]


def _folder(name: str) -> Path:
    """The floors share one."""
    return CACHE / ("floors" if name.startswith("floor_") else name)


def _wanted(name: str) -> str:
    missing = [path.name for path in _requirements(name) if not path.exists()]
    if missing:
        raise Failed(f"there is no benchmarks/systems/{missing[0]}")
    return "".join(path.read_text() for path in _requirements(name))


def _marker(folder: Path) -> Path:
    return folder / "installed.txt"


def _installed(folder: Path) -> str | None:
    return _marker(folder).read_text() if _marker(folder).exists() else None


def _find_node() -> str:
    found = shutil.which("node")
    if found is None:
        raise Failed("node is not on PATH")
    return found
