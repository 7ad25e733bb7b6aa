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
        ({"list": [{}, {}, {"api_key": "***"}]}, r"payload\.list\.2\.api_key"),
        ({"deep": [{"password": "***"}]}, r"payload\.deep\.0\.password"),
    ],
)
def test_a_mask_with_nothing_behind_it_is_refused(edited: dict[str, object], place: str) -> None:
    with pytest.raises(NothingBehind, match=place):
        unmask(edited, ORIGINAL, FIELDS)


def test_without_fields_nothing_is_masked() -> None:
    assert mask(ORIGINAL, ()) == ORIGINAL
