"""The checker catches brokers that are broken on purpose; `task chaos:broken` tries them all."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jobqueue.broker import scripts
from jobqueue.broker.scripts import Script
from testutil.chaos.broken import in_lua, in_python
from testutil.chaos.broken.mutant import MUTANTS, Mutant, table
from testutil.chaos.broken.scenario import QUIET, SCENARIOS
from testutil.chaos.broken.trial import try_mutant, try_whole
from testutil.chaos.check import judge
from testutil.chaos.evidence import gather
from testutil.chaos.final import FinalState
from testutil.chaos.mix import _KINDS
from testutil.chaos.nemesis import KINDS
from testutil.chaos.verdict import Rules

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "chaos.md"
CHECKS = judge(gather(FinalState(), Rules())).failures.keys()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name",
    [
        "unique_not_held",
        "fired_without_a_look",
        pytest.param("live_keys_expire", marks=pytest.mark.long),
        pytest.param("promoted_early", marks=pytest.mark.long),
    ],
)
async def test_the_checker_catches(name: str, tmp_path: Path) -> None:
    trial = await try_mutant(MUTANTS[name], tmp_path)

    assert trial.mutant is not None
    assert trial.mutant.caught_by in trial.failed, trial.line


@pytest.mark.timeout(180)
async def test_the_checker_finds_nothing_where_nothing_is_broken(tmp_path: Path) -> None:
    trial = await try_whole(QUIET, tmp_path)

    assert trial.failed == {}, f"{trial.line}\n" + "\n".join(trial.details)


def test_there_are_a_dozen_and_each_has_its_faults_and_its_check() -> None:
    assert len(MUTANTS) >= 12
    assert {mutant.caught_by for mutant in MUTANTS.values()} <= set(CHECKS)
    assert {mutant.scenario.name for mutant in MUTANTS.values()} == set(SCENARIOS)
    assert all(set(scenario.kinds) <= set(_KINDS) for scenario in SCENARIOS.values())
    assert {fault.kind for scenario in SCENARIOS.values() for fault in scenario.faults} <= set(KINDS)
    assert all(mutant.naive.endswith(".") for mutant in MUTANTS.values())


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_what_a_mutant_breaks_is_there(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Counter[str]()

    def look_in_lua(script: Script, was: str, becomes: str) -> None:
        assert script.source.count(was) == 1
        assert was != becomes
        found["lua"] += 1

    def look_in_python(owner: Any, name: str, new: Any) -> Any:
        assert getattr(owner, name) is not new
        found["python"] += 1

    monkeypatch.setattr(in_lua, "change", look_in_lua)
    monkeypatch.setattr(in_python, "swap", look_in_python)
    mutant.apply()

    assert found


def test_a_mutation_of_a_script_that_is_not_there_is_refused() -> None:
    before = scripts.PROMOTE.source, scripts.PROMOTE.sha

    with pytest.raises(ValueError, match="promote"):
        in_lua.change(scripts.PROMOTE, "no such line", "")

    assert (scripts.PROMOTE.source, scripts.PROMOTE.sha) == before


def test_the_page_tells_every_mutant_and_every_check() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert table() in page, f"docs/explanation/chaos.md must hold:\n\n{table()}"
    assert [check for check in CHECKS if f"| `{check}` |" not in page] == []
