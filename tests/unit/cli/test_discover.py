"""Finding the user's registry: what is written after -A, and what is said when it is wrong."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobqueue.cli.discover import find_app, full_name, load_registry, require_app
from jobqueue.config import AppSettings, Settings
from jobqueue.errors import ConfigError

Write = Callable[..., None]

TASKS = "from jobqueue import Registry\nregistry = Registry()\n@registry.task('a')\nasync def a() -> None: ...\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules into the working directory; their imports are undone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**modules: str) -> None:
        for name, text in modules.items():
            path = tmp_path / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.mark.parametrize("app", ["shop_n", "shop_n:registry"])
def test_an_app_has_one_full_name_with_and_without_its_registry(write: Write, app: str) -> None:
    write(shop_n=TASKS + "again = registry\n")

    assert full_name(app) == "shop_n:registry"


@pytest.mark.parametrize("app", ["shop_a:registry", "shop_a", "shop_a:make", "shop_a:holder.registry"])
def test_a_registry_is_found_by_name_alone_made_or_within_something(write: Write, app: str) -> None:
    write(shop_a=TASKS + "def make(): return registry\nclass holder: pass\nholder.registry = registry\n")

    registry = load_registry(app)

    assert [task.name for task in registry] == ["a"]


def test_a_module_in_a_folder_is_found(write: Write) -> None:
    write(shop_b__in__jobs=TASKS)

    assert "a" in load_registry("shop_b.jobs")


def test_the_working_directory_is_first_on_the_path(write: Write) -> None:
    write(shop_c=TASKS)
    sys.path.append(str(Path.cwd()))

    load_registry("shop_c")

    assert sys.path[0] == str(Path.cwd())


@pytest.mark.parametrize(
    ("text", "app", "said"),
    [
        (None, "shop_d:registry", "no module named 'shop_d' in "),
        (None, "shop_d.jobs:registry", "no module named 'shop_d.jobs'"),
        ("x = 1\n", "shop_d:registry", "has no 'registry'"),
        ("x = 1\n", "shop_d", "has no Registry"),
        (TASKS, "shop_d:registri", "it has registry"),
        (TASKS + "other = Registry()\n", "shop_d", "say which: shop_d:other or shop_d:registry"),
        ("registry = 3\n", "shop_d:registry", "is no Registry and makes none: it is int '3'"),
        ("def make(): raise OSError('no file')\n", "shop_d:make", "could not be called: OSError: no file (shop_d.py"),
        (
            "import no_such_thing\n",
            "shop_d",
            "Error: No module named 'no_such_thing' (shop_d.py, line 1)",
        ),
        ("x = 1 / 0\n", "shop_d", "ZeroDivisionError: division by zero (shop_d.py, line 1)"),
        (TASKS + "@registry.task('a')\nasync def b(): ...\n", "shop_d", "task 'a' is registered twice"),
        (TASKS, "shop_d.py", "must be written module:registry"),
        (TASKS, "./shop_d.py", "name a module, not a file"),
        (TASKS, "shop_d:", "must be written module:registry"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(write: Write, text: str | None, app: str, said: str) -> None:
    write(**({"shop_d": text} if text is not None else {}))

    with pytest.raises(ConfigError) as caught:
        load_registry(app)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_flag_wins_over_the_setting_and_that_over_pyproject(write: Write) -> None:
    write()
    Path("pyproject.toml").write_text('[tool.jobqueue]\napp = "from.pyproject"\n')
    set_by_environment = Settings(app=AppSettings(app="from.environment"))

    assert find_app("from.flag", set_by_environment) == "from.flag"
    assert find_app(None, set_by_environment) == "from.environment"
    assert find_app(None, Settings()) == "from.pyproject"


def test_no_app_anywhere_says_the_three_ways_to_name_one(write: Write) -> None:
    write()

    with pytest.raises(ConfigError, match=r"-A .* JOBQUEUE_APP.* pyproject\.toml"):
        require_app(None, Settings())


@pytest.mark.parametrize("text", ["[tool", "tool = 3", "[tool.jobqueue]\napp = 3\n"])
def test_a_pyproject_that_cannot_be_read_is_named(write: Write, text: str) -> None:
    write()
    Path("pyproject.toml").write_text(text)

    with pytest.raises(ConfigError, match=r"pyproject\.toml"):
        find_app(None, Settings())
