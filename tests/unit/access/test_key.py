"""How keys are formed (S09), and what is kept of them (S10)."""

import re
import string
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.access.key import KEY_REGEX, known_scopes, mint, read, replace, void
from jobqueue.access.scope import SCOPES_OF, Kind, Scope
from jobqueue.errors import ConfigError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DAY = timedelta(days=1)
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def made(**options: Any) -> Any:
    return mint("billing", **{"kind": Kind.CLIENT, "created_by": "cli:ada", "now": NOW, **options})


def test_s09_a_key_has_a_prefix_an_id_256_bits_and_a_check() -> None:
    secret, key = made()

    prefix, env, key_id, rest = secret.split("_")
    assert (prefix, env, key_id) == ("jq", "live", key.id)
    assert 62 ** len(rest[:-6]) >= 2**256
    assert set(key_id + rest) <= set(BASE62)
    number = sum(BASE62.index(digit) * 62**n for n, digit in enumerate(reversed(rest[-6:])))
    assert number == crc32(secret[:-6].encode())


def test_s09_the_published_regex_finds_keys_in_text_and_nothing_else() -> None:
    live, test = made()[0], made(env="test")[0]

    found = re.findall(KEY_REGEX, f'{{"key": "{live}"}}\nAuthorization: Bearer {test}\njq_live_{"x" * 40} x{live}')

    assert found == [live, test]


def test_s10_only_the_digest_of_the_whole_secret_is_kept() -> None:
    secret, key = made()

    assert key.digest == sha256(secret.encode()).digest()
    kept = msgspec.json.encode(key).decode() + repr(key)
    assert secret not in kept
    assert secret[17:] not in kept


def test_secrets_and_ids_do_not_repeat() -> None:
    keys = [made() for _ in range(1_000)]

    assert len({secret[17:60] for secret, _ in keys}) == len({key.id for _, key in keys}) == 1_000


def test_a_key_reads_back_as_its_id_and_digest() -> None:
    secret, key = made()

    assert read(secret) == (key.id, key.digest)


def test_any_single_changed_character_is_no_key() -> None:
    secret, _ = made()

    for at, old in enumerate(secret):
        new = "0" if old != "0" else "1"
        assert read(secret[:at] + new + secret[at + 1 :]) is None, at


def test_what_is_around_a_key_makes_it_none() -> None:
    secret, _ = made()

    for text in (f" {secret}", f"{secret}\n", f"Bearer {secret}", secret[:-1], secret.upper(), secret.encode().hex()):
        assert read(text) is None


@given(st.text() | st.text(alphabet=BASE62 + "_", min_size=66, max_size=66) | st.from_regex(KEY_REGEX, fullmatch=True))
def test_no_text_raises_and_only_a_key_is_one(text: str) -> None:
    assert read(text) is None or re.fullmatch(KEY_REGEX, text)


@pytest.mark.parametrize("text", ["\ud800" * 66, "١" * 66, "jq_live_" + "١" * 58, "\x00" * 66, "x" * 10_000_000])
def test_odd_and_huge_texts_are_no_key(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_decides_the_scopes_where_none_are_named(kind: Kind) -> None:
    assert made(kind=kind)[1].scopes == SCOPES_OF[kind]
    assert made(kind=kind, scopes=[Scope.JOBS_READ])[1].scopes == {Scope.JOBS_READ}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scopes": []}, "at least one scope"),
        ({"queues": []}, "1 to 50 queues"),
        ({"queues": ["q"] * 51}, "1 to 50 queues"),
        ({"queues": ["a*b"]}, "neither the name of a queue"),
        ({"queues": [""]}, "neither the name of a queue"),
        ({"queues": ["mail\n"]}, "neither the name of a queue"),
        ({"queues": ["**"]}, "neither the name of a queue"),
        ({"env": "prod"}, "live or test, got 'prod'"),
        ({"expires": timedelta(0)}, "more than nothing"),
        ({"expires": timedelta.max}, "at most 3650 days"),
        ({"rate": 0}, "at least 0.001"),
        ({"rate": 1e-320}, "at least 0.001"),
        ({"rate": float("nan")}, "at least 0.001"),
        ({"rate": float("inf")}, "at least 0.001"),
        ({"rate": 1e9}, "at most 100000"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**options)


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "\x1b[31m", "\x7f"])
def test_a_name_that_logs_could_not_bear_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="key's name"):
        mint(name, kind=Kind.CLIENT, created_by="cli:ada", now=NOW)


def test_a_replaced_key_has_the_same_rights_and_its_whole_life_again() -> None:
    _, old = made(scopes=[Scope.DLQ_READ], queues=["mail.*"], expires=30 * DAY, rate=5.0, kind=Kind.WORKER)

    secret, new = replace(old, created_by="cli:bob", now=NOW + 10 * DAY, env="test")

    same = ("name", "kind", "scopes", "queues", "rate")
    assert [getattr(new, each) for each in same] == [getattr(old, each) for each in same]
    assert (new.created_by, new.expires_at) == ("cli:bob", NOW + 40 * DAY)
    assert new.id != old.id
    assert read(secret) == (new.id, new.digest)


@pytest.mark.parametrize("change", [{"revoked_at": NOW}, {"revoked_at": NOW + DAY}, {"expires_at": NOW}])
def test_a_key_that_has_ended_is_not_brought_back_by_replacing_it(change: dict[str, Any]) -> None:
    old = msgspec.structs.replace(made()[1], **change)

    with pytest.raises(ConfigError, match=f"{old.id} cannot be rotated"):
        replace(old, created_by="cli:bob", now=NOW)


def test_a_key_is_void_from_the_instant_of_its_end() -> None:
    _, key = made(expires=DAY)
    revoked = msgspec.structs.replace(key, revoked_at=NOW + timedelta(hours=1))
    moment = timedelta(microseconds=1)

    assert void(key, NOW + DAY - moment) is None
    assert void(key, NOW + DAY) == "has expired"
    assert void(revoked, NOW + timedelta(hours=1) - moment) is None
    assert void(revoked, NOW + timedelta(hours=1)) == "is revoked"


def test_a_scope_of_a_newer_version_is_no_right_and_no_error() -> None:
    assert known_scopes(["jobs:read", "moon:land"]) == {Scope.JOBS_READ}
