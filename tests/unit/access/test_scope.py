"""What a key may do, and where (S12, S13)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.access.base import ApiKey
from jobqueue.access.key import mint
from jobqueue.access.scope import SCOPES_OF, Kind, Scope, covers

QUEUES = ["mail", "mail.bulk", "mailbox", "Mail", "shop", "shop.eu", "shop.eu.es", "default"]
SEEN = {
    "*": QUEUES,
    "mail": ["mail"],
    "mail.*": ["mail.bulk"],
    "mail*": ["mail", "mail.bulk", "mailbox"],
    "shop.eu*": ["shop.eu", "shop.eu.es"],
    "other": [],
}
names = st.text(alphabet="ab.*[]?", max_size=6)


def key(*queues: str, scopes: list[Scope] | None = None) -> ApiKey:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return mint("k", kind=Kind.CLIENT, created_by="t", now=now, queues=queues or ("*",), scopes=scopes)[1]


@pytest.mark.parametrize(("pattern", "seen"), SEEN.items())
def test_s13_a_key_sees_the_queues_that_its_patterns_name_and_no_other(pattern: str, seen: list[str]) -> None:
    assert [queue for queue in QUEUES if key(pattern).sees(queue)] == seen


def test_s13_several_patterns_add_up() -> None:
    assert [queue for queue in QUEUES if key("mail", "shop.*").sees(queue)] == ["mail", "shop.eu", "shop.eu.es"]


@given(names, names)
def test_only_a_star_at_the_end_is_special(pattern: str, queue: str) -> None:
    stem = pattern.removesuffix("*")

    assert covers([pattern], queue) == (queue.startswith(stem) if pattern.endswith("*") else queue == pattern)
    assert not covers([], queue)


@pytest.mark.parametrize("scope", Scope)
def test_s12_a_scope_is_had_or_not_and_none_brings_another(scope: Scope) -> None:
    assert [each for each in Scope if key(scopes=[scope]).allows(each)] == [scope]


def test_s12_only_an_admin_may_make_keys() -> None:
    assert [kind for kind in Kind if Scope.KEYS_ADMIN in SCOPES_OF[kind]] == [Kind.ADMIN]
