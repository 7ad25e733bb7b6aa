"""What is masked is not shown, and not lost by an edit."""

import pytest

from jobqueue.api.mask import NothingBehind, mask, unmask

FIELDS = ("password", "api_key")
ORIGINAL = {"password": "p1", "list": [{"API_KEY": {"k": 1}, "n": 1}, {"api_key": "b"}], "deep": {"Password": None}}
SHOWN = {"password": "***", "list": [{"API_KEY": "***", "n": 1}, {"api_key": "***"}], "deep": {"Password": "***"}}


def test_fields_are_masked_at_any_depth_and_in_any_case() -> None:
    assert mask(ORIGINAL, FIELDS) == SHOWN


def test_what_was_only_shown_comes_back_as_it_was() -> None:
    assert unmask(SHOWN, ORIGINAL, FIELDS) == ORIGINAL


def test_a_new_value_replaces_the_old_one_and_the_rest_stays() -> None:
    edited = {**SHOWN, "password": "new", "more": "***"}

    assert unmask(edited, ORIGINAL, FIELDS) == {**ORIGINAL, "password": "new", "more": "***"}


@pytest.mark.parametrize(
    ("edited", "place"),
    [
        ({"api_key": "***"}, r"payload\.api_key"),
        ({"list": [{}, {}, {"api_key": "***"}]}, r"payload\.list\.2 has"),
        ({"deep": [{"password": "***"}]}, r"payload\.deep\.0\.password"),
    ],
)
def test_a_mask_with_nothing_behind_it_is_refused(edited: dict[str, object], place: str) -> None:
    with pytest.raises(NothingBehind, match=place):
        unmask(edited, ORIGINAL, FIELDS)


CARDS = {"cards": [{"of": "ann", "password": "a"}, {"of": "bob", "password": "b"}, {"of": "cy"}]}


@pytest.mark.parametrize(
    "cards",
    [
        [{"of": "bob", "password": "***"}, {"of": "cy"}],
        [{"of": "bob", "password": "***"}, {"of": "ann", "password": "***"}, {"of": "cy"}],
        [{"of": "dora", "password": "***"}, {"of": "ann", "password": "***"}, {"of": "bob", "password": "***"}],
    ],
    ids=["removed", "moved", "put in front"],
)
def test_in_a_list_that_was_put_in_another_order_no_value_goes_to_another_item(cards: list[object]) -> None:
    with pytest.raises(NothingBehind, match=r"payload\.cards\.\d has a '\*\*\*'"):
        unmask({"cards": cards}, CARDS, FIELDS)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([{"of": "ann", "password": "***"}], [{"of": "ann", "password": "a"}]),
        (
            [{"of": "Ann", "password": "***"}, {"of": "bob", "password": "***"}, {}],
            [{"of": "Ann", "password": "a"}, {"of": "bob", "password": "b"}, {}],
        ),
        (
            [{"of": "ann", "password": "***"}, {"of": "bob", "password": "new"}, {"of": "cy"}, {"of": "dora"}],
            [{"of": "ann", "password": "a"}, {"of": "bob", "password": "new"}, {"of": "cy"}, {"of": "dora"}],
        ),
    ],
    ids=["the last ones removed", "changed", "added behind"],
)
def test_in_a_list_items_keep_their_values_where_they_keep_their_place(
    cards: list[object], expected: list[object]
) -> None:
    assert unmask({"cards": cards}, CARDS, FIELDS) == {"cards": expected}


def test_without_fields_nothing_is_masked() -> None:
    assert mask(ORIGINAL, ()) == ORIGINAL
