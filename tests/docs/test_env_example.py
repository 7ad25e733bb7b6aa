"""`.env.example` lists every setting, with its default, and nothing else."""

import re
from pathlib import Path

import pytest

from jobqueue.config import FILE_VARIABLE, SETTINGS, Setting, Settings, written

EXAMPLE = Path(__file__).parents[2] / ".env.example"
OURS, MARK, FOR_COMPOSE = EXAMPLE.read_text().partition("# --- Read by compose.yaml only ---\n")


def test_every_setting_is_listed_once_and_nothing_else_is() -> None:
    listed = [name for name, _ in variables(OURS)]

    assert sorted(listed) == sorted([*(setting.env for setting in SETTINGS), FILE_VARIABLE])


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.env)
def test_the_value_shown_is_the_default(setting: Setting) -> None:
    if setting.default is None or setting.default == ():
        pytest.skip("has no default: the line shows an example")

    assert dict(variables(OURS))[setting.env] == written(setting.default)


def test_all_values_together_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "jobqueue.toml").touch()
    environment = dict(variables(OURS)) | {FILE_VARIABLE: str(tmp_path / "jobqueue.toml")}

    settings = Settings.load(environment)

    assert settings.redis.url == "redis://localhost:6379"


def test_the_compose_variables_are_those_that_compose_reads() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (EXAMPLE.parent / "compose.yaml").read_text()))

    assert MARK
    assert {name for name, _ in variables(FOR_COMPOSE)} == asked - {name for name, _ in variables(OURS)}


def variables(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE)
