"""Which queues a look takes when there are too many: nobody's are all left out."""

import pytest

from jobqueue.api import choice
from jobqueue.api.choice import Choice

NAMES = [f"a{n:02}" for n in range(20)] + [f"b{n:02}" for n in range(20)] + [f"c{n:02}" for n in range(20)]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MOST_QUEUES", 10)


def test_all_are_taken_where_there_are_few() -> None:
    assert Choice().of(NAMES[:10], 0.0) == NAMES[:10]


def test_without_callers_of_some_it_is_the_first_by_name() -> None:
    chosen = Choice()
    assert not chosen.note(["*"], 0.0)

    assert chosen.of(NAMES, 0.0) == NAMES[:10]


def test_who_sees_only_the_last_has_its_queues() -> None:
    chosen = Choice()
    assert chosen.note(["c*"], 0.0)
    assert not chosen.note(["c*"], 0.0), "they are chosen for already"

    assert chosen.of(NAMES, 0.0) == [*NAMES[:10], *(f"c{n:02}" for n in range(10))]


def test_several_callers_share_evenly_and_one_with_a_single_queue_has_it() -> None:
    chosen = Choice()
    for patterns in (["b*"], ["c*"], ["c19"]):
        chosen.note(patterns, 0.0)

    more = chosen.of(NAMES, 0.0)[10:]

    assert len(more) == 10
    assert "c19" in more
    assert sum(name < "c" for name in more) in (4, 5)


def test_who_has_not_looked_for_a_minute_is_forgotten() -> None:
    chosen = Choice()
    chosen.note(["b*"], 0.0)
    chosen.note(["c*"], 50.0)

    assert all(name.startswith("c") for name in chosen.of(NAMES, 61.0)[10:])


def test_so_many_views_are_remembered_and_no_more() -> None:
    chosen = Choice()
    noted = [chosen.note([f"b{n:02}"], 0.0) for n in range(20)]

    assert noted.count(True) == 16
    assert len(chosen.of(NAMES, 0.0)) == 20
