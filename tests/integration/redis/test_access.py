"""Access in Redis: what lies there, what is bounded, and what works when Redis is full, broken or new to us."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from jobqueue.access.base import Access, AuditEntry
from jobqueue.access.gate import FAILURE_EVERY, FAILURES, Gate
from jobqueue.access.key import mint
from jobqueue.access.scope import Kind, Scope
from jobqueue.bootstrap import Parts, wire
from jobqueue.broker.access import audit as audit_module
from jobqueue.broker.keys import AccessKeys
from jobqueue.clock import SystemClock
from jobqueue.config import Settings
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.errors import Backpressure, BrokerError, BrokerUnavailable, Denied, TooMany
from tests.integration.redis.dump import dump

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def parts(redis_url: str, namespace: str) -> AsyncIterator[Parts]:
    parts = wire(Settings.load({}, overrides={"REDIS_URL": redis_url, "JOBQUEUE_NAMESPACE": namespace}))
    yield parts
    await parts.close()


@pytest.fixture
def access(parts: Parts) -> Access:
    assert parts.access is not None
    return parts.access


@pytest.fixture
def keys(namespace: str) -> AccessKeys:
    return AccessKeys.of(namespace)


@pytest.fixture(scope="module")
def full_server() -> Iterator[RedisServer]:
    with start_redis(appendonly=False) as server:
        yield server


def entry(n: int, **options: str) -> AuditEntry:
    return AuditEntry(**{"at": NOW, "actor": "a", "action": "do", "target": f"t{n}", **options})  # type: ignore[arg-type]


async def test_s10_nothing_that_opens_a_door_lies_in_redis(
    access: Access, raw: "redis.asyncio.Redis", namespace: str
) -> None:
    secret, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW)
    await access.keys.add(key)
    gate = Gate(access, SystemClock())
    await gate.authenticate(secret, "192.0.2.1")
    with pytest.raises(Denied):
        await gate.authenticate(secret[:-1], "192.0.2.1")
    await gate.close()
    token = await access.sessions.open(key.id, ttl=HOUR)
    await access.answers.begin("idempotency-canary", digest="d", patience=HOUR)
    await access.audit.append(entry(1))

    held = repr(await dump(raw, namespace))

    assert key.id in held
    assert not any(text in held for text in (secret, secret[17:60], token, "idempotency-canary"))


async def test_what_is_for_a_time_has_a_lifetime_and_what_is_kept_has_none(
    access: Access, raw: "redis.asyncio.Redis", keys: AccessKeys
) -> None:
    _, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW)
    await access.keys.add(key)
    await access.keys.revoke(key.id, at=NOW)
    await access.keys.used({key.id: NOW})
    await access.audit.append(entry(1))
    token = await access.sessions.open(key.id, ttl=HOUR)
    await access.limiter.take("b", rate=0.01, burst=1)
    await access.answers.begin("k", digest="d", patience=HOUR)
    claimed = await raw.pttl(keys.answer("k"))
    await access.answers.finish("k", digest="d", status=200, body=b"", ttl=2 * HOUR)

    for kept in (keys.keys, keys.revoked, keys.used, keys.audit):
        assert await raw.pttl(kept) == -1
    assert 0 < claimed <= 3_600_000
    assert 3_600_000 < await raw.pttl(keys.answer("k")) <= 7_200_000
    assert 0 < await raw.pttl(keys.session(token)) <= 3_600_000
    assert 0 < await raw.pttl(keys.bucket("b")) <= 100_000


async def test_no_queue_can_have_the_keys_of_access(parts: Parts, namespace: str) -> None:
    tag = AccessKeys.of(namespace).tag

    assert parts.redis is not None
    for name in ("access", "_access", "Access", "keys"):
        try:
            assert parts.redis.keys(name).tag != tag
        except ValueError:
            continue


async def test_the_audit_log_is_bounded(
    access: Access, raw: "redis.asyncio.Redis", keys: AccessKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "MOST_ENTRIES", 100)
    for n in range(500):
        await access.audit.append(entry(n))

    newest, _ = await access.audit.list(actor=None, action=None, target=None, limit=1, after=None)

    assert newest[0].target == "t499"
    assert 100 <= await raw.xlen(keys.audit) < 300


async def test_a_filter_that_fits_little_reads_a_bounded_share_of_the_log_at_once(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "_PAGE", 10)
    monkeypatch.setattr(audit_module, "_PAGES_AT_ONCE", 2)
    for n in range(45):
        await access.audit.append(entry(n))

    sizes, after = [], None
    for _ in range(10):
        found, after = await access.audit.list(actor=None, action=None, target="t1", limit=5, after=after)
        sizes.append(len(found))
        if after is None:
            break

    assert sizes == [0, 0, 1]


async def test_a_full_redis_still_lets_operators_in_and_revokes_and_records(
    full_server: RedisServer, namespace: str
) -> None:
    given = {"REDIS_URL": full_server.url, "JOBQUEUE_NAMESPACE": namespace}
    parts = wire(Settings.load({}, overrides=given))
    access = parts.access
    assert access is not None
    secret, key = mint("billing", kind=Kind.ADMIN, created_by="t", now=NOW, rate=10)
    await access.keys.add(key)
    await access.answers.begin("k", digest="d", patience=HOUR)
    async with redis.asyncio.Redis.from_url(full_server.url) as raw:
        await raw.config_set("maxmemory-policy", "noeviction")
        await raw.config_set("maxmemory", "1mb")
        try:
            gate = Gate(access, SystemClock())
            assert await gate.authenticate(secret, "192.0.2.1") == key
            await gate.limit(key)
            await gate.close()
            assert await access.sessions.key_of(await access.sessions.open(key.id, ttl=HOUR)) == key.id
            await access.audit.append(entry(1))
            await access.answers.finish("k", digest="d", status=201, body=b"", ttl=HOUR)
            assert await access.keys.revoke(key.id, at=NOW)
            with pytest.raises(Backpressure):
                await access.answers.begin("another", digest="d", patience=HOUR)
        finally:
            await raw.config_set("maxmemory", "0")
    await parts.close()


async def test_after_a_clock_was_set_back_nobody_waits_for_longer_than_an_empty_bucket(
    access: Access, raw: "redis.asyncio.Redis", keys: AccessKeys
) -> None:
    await raw.set(keys.bucket("b"), int((time.time() + 86_400) * 1_000_000))

    wait = await access.limiter.take("b", rate=1, burst=5)

    assert timedelta(0) < wait <= timedelta(seconds=1)


async def test_a_key_of_a_newer_version_has_the_rights_that_are_known_here(
    access: Access, raw: "redis.asyncio.Redis", keys: AccessKeys
) -> None:
    _, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW, scopes=[Scope.JOBS_READ])
    await access.keys.add(key)
    text = await raw.hget(keys.keys, key.id)
    await raw.hset(keys.keys, key.id, text.replace(b'"jobs:read"', b'"jobs:read","moon:land"')[:-1] + b',"tenant":"x"}')

    assert await access.keys.get(key.id) == key


async def test_a_key_that_was_edited_by_hand_lets_nobody_in(
    access: Access, raw: "redis.asyncio.Redis", keys: AccessKeys
) -> None:
    secret, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW)
    await raw.hset(keys.keys, key.id, b'{"name": "billing"}')

    with pytest.raises(BrokerError, match=f"the key {key.id} in Redis cannot be read"):
        await Gate(access, SystemClock()).authenticate(secret, "192.0.2.1")


async def test_s15_a_thousand_bad_keys_at_two_processes_are_counted_together(parts: Parts, redis_url: str) -> None:
    other = wire(parts.settings)
    assert parts.access is not None
    assert other.access is not None
    secret, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=datetime.now(UTC))
    await parts.access.keys.add(key)
    gates = [Gate(each, SystemClock()) for each in (parts.access, other.access)]
    strangers = [mint("k", kind=Kind.CLIENT, created_by="t", now=NOW)[0] for _ in range(100)]
    begun = time.monotonic()

    async def guess(n: int) -> str:
        text = strangers[n // 10] if n % 10 == 0 else f"guess-canary-{n}"
        with pytest.raises((Denied, TooMany)) as refused:
            await gates[n % 2].authenticate(text, "192.0.2.1")
        return type(refused.value).__name__

    with capture_logs() as logs:
        answers = [each for n in range(0, 1_000, 50) for each in await asyncio.gather(*map(guess, range(n, n + 50)))]
    refilled = int((time.monotonic() - begun) / FAILURE_EVERY.total_seconds()) + 1

    assert FAILURES <= answers.count("Denied") <= FAILURES + refilled
    assert "canary" not in str(logs)
    assert not any(text[17:] in str(logs) for text in strangers)
    for gate in gates:
        assert (await gate.authenticate(secret, "192.0.2.1")).id == key.id
        await gate.close()
    await other.close()


async def test_s16_a_rate_is_shared_by_all_processes(parts: Parts) -> None:
    other = wire(parts.settings)
    assert parts.access is not None
    assert other.access is not None
    _, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW, rate=0.001)
    gates = [Gate(each, SystemClock()) for each in (parts.access, other.access)]

    answers = await asyncio.gather(*(gates[n % 2].limit(key) for n in range(20)), return_exceptions=True)

    assert [type(each) for each in answers].count(TooMany) == 19
    await other.close()


async def test_s16_without_redis_a_limited_key_stays_outside() -> None:
    parts = wire(Settings.load({}, overrides={"REDIS_URL": "redis://127.0.0.1:1"}))
    assert parts.access is not None
    secret, key = mint("billing", kind=Kind.CLIENT, created_by="t", now=NOW, rate=5)
    gate = Gate(parts.access, SystemClock())

    with pytest.raises(BrokerUnavailable):
        await gate.limit(key)
    with pytest.raises(BrokerUnavailable):
        await gate.authenticate(secret, "192.0.2.1")
    with pytest.raises(TooMany):
        await gate.authenticate("no key", "192.0.2.1")
    await gate.close()
    await parts.close()
