"""The fault matrix is what the tests say, and leaves no scenario out."""

import re
from pathlib import Path

import pytest

from testutil.fault_matrix import NOT_YET, PAGE, TESTS, TRIGGERS, Proof, page, problems, proofs_in

PROVED = Proof(("F01",), "tests/test_a.py", "test_f01_a", "It ends well.")


def test_every_scenario_has_a_test_or_a_reason() -> None:
    assert problems(proofs_in(TESTS)) == []


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(proofs_in(TESTS)), "run `python3 -m testutil.fault_matrix`"


def test_the_catalogue_is_whole() -> None:
    assert list(TRIGGERS) == [f"F{number:02}" for number in range(1, 86)]


@pytest.mark.parametrize(
    ("proof", "not_yet", "problem"),
    [
        (Proof(("F02",), "t.py", "test_f02_a", "It."), {}, "F01: no test"),
        (PROVED, {"F02": "later", "F01": "later"}, "F01: has a test"),
        (Proof(("F01", "F99"), "t.py", "test_f01_f99_a", "It."), {"F02": "later"}, "there is no scenario F99"),
        (Proof(("F01",), "t.py", "test_f01_a", ""), {"F02": "later"}, "must be one sentence"),
        (PROVED, {"F02": "later", "F98": "later"}, "F98: not yet, and not in the catalogue"),
    ],
)
def test_what_is_missing_or_wrong_is_named(proof: Proof, not_yet: dict[str, str], problem: str) -> None:
    found = problems([proof], triggers={"F01": "a", "F02": "b"}, not_yet=not_yet)

    assert any(problem in each for each in found), found


def test_a_whole_matrix_has_no_problems() -> None:
    assert problems([PROVED], triggers={"F01": "a", "F02": "b"}, not_yet={"F02": "later"}) == []


def test_tests_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        '''
class TestIt:
    async def test_f12_f13_both(self):
        """It | runs again.

        More.
        """
def test_f14_alone():
    """It ends."""
def test_other(): ...
def not_a_test_f15_(): ...
'''
    )

    both, alone = proofs_in(tmp_path / "tests", root=tmp_path)

    assert both == Proof(("F12", "F13"), "tests/test_a.py", "TestIt::test_f12_f13_both", "It | runs again.")
    assert (alone.ids, alone.sentence) == (("F14",), "It ends.")


def test_a_row_has_trigger_sentences_and_tests() -> None:
    again = Proof(("F01",), "tests/test_a.py", "test_f01_b", "It ends well.")

    text = page([PROVED, again], parts={"Part": {"F01": "it breaks", "F02": "it bursts"}}, not_yet={"F02": "later"})

    rows = [line for line in text.splitlines() if re.match(r"\| F", line)]
    assert rows == [
        "| F01 | it breaks | It ends well. | [`test_a.py::test_f01_a`](../../tests/test_a.py)"
        "<br>[`test_a.py::test_f01_b`](../../tests/test_a.py) |",
        "| F02 | it bursts | *Not yet: later.* |  |",
    ]


def test_a_reason_is_a_reason() -> None:
    assert all(len(reason) > 10 for reason in NOT_YET.values())
