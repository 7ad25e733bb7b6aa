"""A deferred package behaves as an imported one, whichever way it is come to."""

import subprocess
import sys
from pathlib import Path

import pytest

WAYS = [
    "import shop; print(shop.Till().name)",
    "from shop import Till; print(Till().name)",
    "from shop import *; print(Till().name)",
    "from shop.till import Till; print(Till().name)",
    "import shop.till; print(shop.Till().name)",
    "import shop; print(shop.back.Till().name)",
    "from shop.back import Till; print(Till().name)",
    "import shop.back.store, shop; print(shop.Till().name)",
    "import importlib, shop; shop.Till; importlib.reload(shop); print(shop.Till().name)",
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A package that is shaped like redis-py: the `__init__`s import submodules, which import each other."""
    package = tmp_path / "shop"
    (package / "back").mkdir(parents=True)
    (package / "__init__.py").write_text("print('init')\nfrom shop import back\nfrom shop.till import Till\n")
    (package / "till.py").write_text("from shop import names\nclass Till:\n    name = names.TILL\n")
    (package / "names.py").write_text("TILL = 'till'\n")
    (package / "light.py").write_text("import shop\nWEIGHT = 1\n")
    (package / "back" / "__init__.py").write_text("print('back')\nfrom shop.till import Till\n")
    (package / "back" / "store.py").write_text("from shop.names import TILL\n")
    return tmp_path


def run(folder: Path, program: str) -> list[str]:
    code = f"from jobqueue.cli.deferred import defer\ndefer('shop', 'shop.back')\n{program}"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{folder}:{Path(__file__).parents[3]}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split()


@pytest.mark.parametrize("way", WAYS)
def test_a_name_of_the_package_is_there_when_it_is_asked_for(shop: Path, way: str) -> None:
    assert run(shop, way)[-1] == "till"


def test_a_submodule_does_not_run_the_init(shop: Path) -> None:
    assert run(shop, "import shop.light, shop.back.store; print(shop.light.WEIGHT)") == ["1"]


def test_the_init_runs_once(shop: Path) -> None:
    assert run(shop, "import shop; shop.Till; from shop import Till, back; import shop.till").count("init") == 1


def test_a_name_that_is_not_there_is_an_attribute_error(shop: Path) -> None:
    program = "import shop; print(hasattr(shop, 'nothing'), hasattr(shop, '__nothing__'), type(shop).__name__)"

    assert run(shop, program)[-3:] == ["False", "False", "module"]


def test_two_threads_may_ask_first(shop: Path) -> None:
    program = """
import shop, threading
def ask():
    print(shop.Till().name)
threads = [threading.Thread(target=ask) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
"""

    assert sorted(run(shop, program)) == ["init", *["till"] * 8]


def test_what_is_imported_already_stays(shop: Path) -> None:
    assert run(shop, "import json; before = json; defer('json'); import json; print(json is before)") == ["True"]


def test_what_is_not_installed_stays_an_import_error(shop: Path) -> None:
    program = """
defer("nowhere", "nowhere.deep")
try:
    import nowhere
except ModuleNotFoundError as error:
    print(error.name)
"""

    assert run(shop, program) == ["nowhere"]


def test_an_init_that_fails_says_so_each_time(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("raise OSError('closed')\n")
    ask = "try:\n    shop.Till\nexcept OSError as error:\n    print(error)\n"

    code = f"from jobqueue.cli.deferred import defer\ndefer('shop')\nimport shop\n{ask}{ask}"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["closed", "closed"]
