"""What every store of keys, audit log, sessions, limits and answers promises: each sentence of `jobqueue.access.base`.

The fixture `access` chooses the stores. Postgres keeps keys and the audit log; the rest is Redis's then, too.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.access.base import Access, ApiKey, AuditEntry
from jobqueue.access.key import mint
from jobqueue.access.scope import Kind, Scope
from jobqueue.clock import SystemClock
from jobqueue.errors import ConfigError, JobQueueError
from jobqueue.testing.memory import memory_access
from tests.contract.conftest import wired_parts
from testutil.eventually import eventually

NOW = datetime(2026, 11, 22, 12, 0, 0, 123_000, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHORT = timedelta(milliseconds=50)
STORES = ["memory", "valkey", "redis", "guarded", "cluster", "postgres"]


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def access(kind: str, namespace: str, request: pytest.FixtureRequest) -> AsyncIterator[Access]:
    if kind == "memory":
        yield memory_access(SystemClock())
        return
    async with wired_parts(kind, namespace, request) as parts:
        assert parts.access is not None
        yield parts.access


def key(n: int = 0, **options: object) -> ApiKey:
    defaults = {"kind": Kind.CLIENT, "created_by": "cli:ada", "now": NOW + timedelta(seconds=n)}
    return mint(f"key {n}", **{**defaults, **options})[1]  # type: ignore[arg-type]


def entry(n: int, **options: object) -> AuditEntry:
    return AuditEntry(
        **{  # type: ignore[arg-type]
            "at": NOW + timedelta(seconds=n),
            "actor": "abcd1234",
            "action": "queue.pause",
            "target": "mail",
            "detail": {"n": n},
            **options,
        }
    )


# Keys


async def test_a_key_comes_back_as_it_was_added(access: Access) -> None:
    plain = key()
    special = key(
        scopes={Scope.JOBS_READ, Scope.DLQ_WRITE}, queues=["mail", "shop.*"], expires=HOUR, rate=2.5, kind=Kind.WORKER
    )

    await access.keys.add(plain)
    await access.keys.add(special)

    assert await access.keys.get(plain.id) == plain
    assert await access.keys.get(special.id) == special


@pytest.mark.parametrize("key_id", ["", "abcd1234", "x" * 500, "a\x00b", "\ud800", "' OR 1=1", "*"])
async def test_an_id_of_no_key_is_no_error(access: Access, key_id: str) -> None:
    await access.keys.add(key())

    assert await access.keys.get(key_id) is None
    assert not await access.keys.revoke(key_id, at=NOW)
    await access.keys.used({key_id: NOW})


async def test_an_id_is_given_once(access: Access) -> None:
    first = key()
    await access.keys.add(first)

    with pytest.raises(JobQueueError, match=f"{first.id} already"):
        await access.keys.add(first)


async def test_keys_are_listed_newest_first_and_revoked_ones_too(access: Access) -> None:
    keys = [key(n) for n in range(5)]
    for each in (keys[2], keys[0], keys[4], keys[1], keys[3]):
        await access.keys.add(each)
    await access.keys.revoke(keys[1].id, at=NOW)

    listed = await access.keys.list()

    assert [each.id for each in listed] == [each.id for each in reversed(keys)]
    assert [each.id for each in listed if each.revoked_at] == [keys[1].id]


async def test_it_is_known_whether_a_key_was_ever_made(access: Access) -> None:
    before = await access.keys.any()
    made = key()
    await access.keys.add(made)
    await access.keys.revoke(made.id, at=NOW)

    assert not before
    assert await access.keys.any()
    assert len(await access.keys.list()) == 1


async def test_the_earliest_revocation_holds(access: Access) -> None:
    made = key()
    await access.keys.add(made)
    instants = []
    for at in (NOW + HOUR, NOW + 2 * HOUR, NOW, NOW + HOUR):
        assert await access.keys.revoke(made.id, at=at)
        revoked = await access.keys.get(made.id)
        assert revoked
        instants.append(revoked.revoked_at)

    assert instants == [NOW + HOUR, NOW + HOUR, NOW, NOW]


async def test_a_last_use_never_goes_back(access: Access) -> None:
    one, other, unused = key(1), key(2), key(3)
    for each in (one, other, unused):
        await access.keys.add(each)

    await access.keys.used({one.id: NOW + HOUR, other.id: NOW})
    await access.keys.used({one.id: NOW, other.id: NOW + HOUR, "nobody00": NOW})
    await access.keys.used({})
    await asyncio.gather(*(access.keys.used({one.id: NOW + HOUR + timedelta(minutes=n % 7)}) for n in range(20)))

    used = {each.id: each.last_used_at for each in await access.keys.list()}
    assert used == {one.id: NOW + HOUR + timedelta(minutes=6), other.id: NOW + HOUR, unused.id: None}


# Audit


async def test_an_entry_comes_back_as_it_was_appended(access: Access) -> None:
    told = entry(1, detail={"a": [1, {"b": None}], "c": "ä"}, address="10.0.0.7", request_id="r-1")

    await access.audit.append(told)

    assert await page(access) == ([told], None)


async def test_no_text_is_an_error(access: Access) -> None:
    for odd in ("a\x00b", "\ud800", "x" * 10_000, "\r\n\x1b[31m", "'; DROP TABLE jobqueue.audit; --"):
        await access.audit.append(entry(1, actor=odd, target=odd, action=odd, detail={odd: [odd, {odd: odd}]}))

        found, _ = await page(access, actor=odd, target=odd, action=odd)

        assert len(found) == 1
        assert len(found[0].target) <= 2_000


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
async def test_pages_of_the_log_join_without_gap_or_overlap(access: Access, limit: int) -> None:
    for n in range(7):
        await access.audit.append(entry(n))

    found: list[AuditEntry] = []
    after = None
    for _ in range(10):
        entries, after = await page(access, limit=limit, after=after)
        assert len(entries) <= limit
        found += entries
        if found and found[0].detail == {"n": 6} and len(found) == limit:
            await access.audit.append(entry(99))  # who comes in between shifts nothing
        if after is None:
            break

    assert after is None
    assert [each.detail["n"] for each in found] == [6, 5, 4, 3, 2, 1, 0]


async def test_filters_of_the_log_go_together(access: Access) -> None:
    for n in range(12):
        await access.audit.append(entry(n, actor=f"a{n % 2}", action=f"do.{n % 3}", target=f"t{n % 4}"))

    assert [each.detail["n"] for each in (await page(access, actor="a1"))[0]] == [11, 9, 7, 5, 3, 1]
    assert [each.detail["n"] for each in (await page(access, actor="a1", action="do.0"))[0]] == [9, 3]
    assert [each.detail["n"] for each in (await page(access, actor="a1", action="do.0", target="t1"))[0]] == [9]
    assert await page(access, actor="a1", target="t0") == ([], None)


@pytest.mark.parametrize("after", ["", "x", "1; DROP", "-1", "1-1-1", "9" * 40, "\x00", "١"])
async def test_a_cursor_of_somebody_elses_is_refused_by_name(access: Access, after: str) -> None:
    with pytest.raises(ConfigError, match="cursor must be one"):
        await page(access, after=after)


async def page(access: Access, **options: object) -> tuple[list[AuditEntry], str | None]:
    wanted = {"actor": None, "action": None, "target": None, "limit": 100, "after": None, **options}
    found, after = await access.audit.list(**wanted)  # type: ignore[arg-type]
    return list(found), after


# Sessions


async def test_a_session_stands_for_its_key_until_it_is_closed(access: Access) -> None:
    token, other = [await access.sessions.open(f"key{n}0000", ttl=HOUR) for n in range(2)]

    before = await access.sessions.key_of(token)
    await access.sessions.close(token)
    await access.sessions.close(token)

    assert before == "key00000"
    assert await access.sessions.key_of(token) is None
    assert await access.sessions.key_of(other) == "key10000"


async def test_a_session_ends_by_itself(access: Access) -> None:
    token = await access.sessions.open("key00000", ttl=SHORT)

    async def ended() -> bool:
        return await access.sessions.key_of(token) is None

    await eventually(ended)


@pytest.mark.parametrize("token", ["", "x", "y" * 100_000, "\x00", "\ud800", "*", "{a}:b"])
async def test_any_other_text_is_no_session(access: Access, token: str) -> None:
    await access.sessions.open("key00000", ttl=HOUR)

    assert await access.sessions.key_of(token) is None
    await access.sessions.close(token)


# Limits


async def test_a_bucket_gives_its_burst_at_once_and_then_says_how_long_to_wait(access: Access) -> None:
    waits = [await access.limiter.take("b", rate=0.1, burst=5) for _ in range(7)]

    assert waits[:5] == [timedelta(0)] * 5
    assert all(timedelta(seconds=5) < wait <= timedelta(seconds=10) for wait in waits[5:])


@pytest.mark.parametrize("rate", [1 / 6, 1 / 7, 3.0, 1000 / 3])
async def test_a_bucket_of_any_rate_gives_all_of_its_burst(access: Access, rate: float) -> None:
    waits = await asyncio.gather(*(access.limiter.take("b", rate=rate, burst=10) for _ in range(10)))

    assert waits == [timedelta(0)] * 10


async def test_who_is_refused_takes_nothing(access: Access) -> None:
    await access.limiter.take("b", rate=0.01, burst=10, cost=6)

    refused = await access.limiter.take("b", rate=0.01, burst=10, cost=5)

    assert refused > timedelta(seconds=90)
    assert not await access.limiter.take("b", rate=0.01, burst=10, cost=4)
    assert await access.limiter.take("b", rate=0.01, burst=10, cost=0.5)


async def test_a_bucket_fills_again(access: Access) -> None:
    assert not await access.limiter.take("b", rate=50, burst=1)

    async def filled() -> bool:
        return not await access.limiter.take("b", rate=50, burst=1)

    await eventually(filled)


async def test_buckets_are_apart_whatever_their_names(access: Access) -> None:
    for name in ("", "a", "b", "a{b}", "*", "\x00", "\ud800", "x" * 10_000):
        assert not await access.limiter.take(name, rate=0.01, burst=1)
        assert await access.limiter.take(name, rate=0.01, burst=1)


async def test_many_at_once_never_get_more_than_the_burst(access: Access) -> None:
    waits = await asyncio.gather(*(access.limiter.take("b", rate=0.001, burst=20) for _ in range(100)))

    assert sum(not wait for wait in waits) == 20


@pytest.mark.parametrize(("rate", "burst", "cost"), [(0, 1, 1), (-1, 1, 1), (1, 1, 2), (1, 1, 0), (float("nan"), 1, 1)])
async def test_a_bucket_that_could_never_give_is_refused(
    access: Access, rate: float, burst: float, cost: float
) -> None:
    with pytest.raises(ValueError, match="a bucket needs"):
        await access.limiter.take("b", rate=rate, burst=burst, cost=cost)


# Answers


async def test_the_first_request_is_answered_and_a_repetition_hears_the_same(access: Access) -> None:
    states = [(await access.answers.begin("k", digest="d", patience=HOUR)).state for _ in range(2)]
    await access.answers.finish("k", digest="d", status=201, body=b'{"id":"\xff\x00"}', ttl=HOUR)

    again = await access.answers.begin("k", digest="d", patience=HOUR)

    assert states == ["new", "busy"]
    assert (again.state, again.status, again.body) == ("done", 201, b'{"id":"\xff\x00"}')


async def test_another_body_under_the_same_key_is_a_conflict_before_and_after(access: Access) -> None:
    await access.answers.begin("k", digest="d", patience=HOUR)
    before = await access.answers.begin("k", digest="other", patience=HOUR)
    await access.answers.finish("k", digest="d", status=201, body=b"", ttl=HOUR)

    assert before.state == "conflict"
    assert (await access.answers.begin("k", digest="other", patience=HOUR)).state == "conflict"
    assert (await access.answers.begin("k2", digest="other", patience=HOUR)).state == "new"


async def test_of_many_at_once_one_is_the_first(access: Access) -> None:
    for n in range(10):
        answers = await asyncio.gather(
            *(access.answers.begin(f"k{n}", digest="d", patience=HOUR) for _ in range(10)),
        )
        assert sorted(each.state for each in answers) == ["busy"] * 9 + ["new"]


async def test_a_claim_that_is_not_finished_in_time_is_void(access: Access) -> None:
    await access.answers.begin("k", digest="d", patience=SHORT)

    async def free() -> bool:
        return (await access.answers.begin("k", digest="other", patience=HOUR)).state == "new"

    await eventually(free)


async def test_who_finishes_after_its_claim_ran_out_overwrites_nobody(access: Access) -> None:
    await access.answers.begin("k", digest="d", patience=SHORT)

    async def taken_over() -> bool:
        return (await access.answers.begin("k", digest="other", patience=HOUR)).state == "new"

    await eventually(taken_over)

    await access.answers.finish("k", digest="d", status=201, body=b"late", ttl=HOUR)
    await access.answers.abandon("k", digest="d")
    busy = await access.answers.begin("k", digest="other", patience=HOUR)
    await access.answers.finish("k", digest="other", status=202, body=b"in time", ttl=HOUR)
    await access.answers.finish("k", digest="other", status=203, body=b"twice", ttl=HOUR)
    done = await access.answers.begin("k", digest="other", patience=HOUR)

    assert busy.state == "busy"
    assert (done.status, done.body) == (202, b"in time")


async def test_an_answer_whose_claim_ran_out_is_kept_where_nobody_else_came(access: Access) -> None:
    await access.answers.finish("k", digest="d", status=201, body=b"late", ttl=HOUR)

    assert (await access.answers.begin("k", digest="d", patience=HOUR)).body == b"late"


async def test_an_abandoned_claim_is_free_at_once(access: Access) -> None:
    await access.answers.begin("k", digest="d", patience=HOUR)
    await access.answers.abandon("k", digest="other")
    kept = await access.answers.begin("k", digest="d", patience=HOUR)
    await access.answers.abandon("k", digest="d")

    assert kept.state == "busy"
    assert (await access.answers.begin("k", digest="other", patience=HOUR)).state == "new"


async def test_an_answer_is_forgotten_after_its_time(access: Access) -> None:
    await access.answers.begin("k", digest="d", patience=HOUR)
    await access.answers.finish("k", digest="d", status=201, body=b"", ttl=SHORT)

    async def forgotten() -> bool:
        return (await access.answers.begin("k", digest="d", patience=HOUR)).state == "new"

    await eventually(forgotten)


async def test_an_answer_is_not_abandoned(access: Access) -> None:
    await access.answers.begin("k", digest="d", patience=HOUR)
    await access.answers.finish("k", digest="d", status=201, body=b"kept", ttl=HOUR)
    await access.answers.abandon("k", digest="d")

    assert (await access.answers.begin("k", digest="d", patience=HOUR)).body == b"kept"


@pytest.mark.parametrize("name", ["", "a b", "*", "{x}", "\x00\r\n", "\ud800", "k" * 100_000])
async def test_any_text_is_an_idempotency_key(access: Access, name: str) -> None:
    assert (await access.answers.begin(name, digest="d", patience=HOUR)).state == "new"
    assert (await access.answers.begin(name, digest="d", patience=HOUR)).state == "busy"
