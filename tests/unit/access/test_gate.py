"""Who is let in, what others hear, and what that costs (S10, S11, S15, S16)."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from jobqueue.access import gate as gate_module
from jobqueue.access.base import Access, ApiKey, ApiKeys
from jobqueue.access.gate import BELIEVED, FAILURE_EVERY, FAILURES, FLUSH_EVERY, Gate
from jobqueue.access.key import _check, mint
from jobqueue.access.scope import Kind
from jobqueue.clock import from_ms
from jobqueue.errors import BrokerUnavailable, Denied, JobQueueError, RepositoryUnavailable, TooMany
from jobqueue.testing.clock import ManualClock
from jobqueue.testing.memory import memory_access
from testutil.eventually import eventually

HERE = "192.0.2.1"
THERE = "198.51.100.7"
MOMENT = timedelta(milliseconds=1)


class Watched:
    """A store that counts, that can be away, and that can be made to wait."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: list[tuple[str, Any]] = []
        self.failure: Exception | None = None
        self.held: asyncio.Event | None = None

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args[0] if args else None))
            if self.failure is not None:
                raise self.failure
            answer = await getattr(self._inner, name)(*args, **kwargs)
            if self.held is not None:
                await self.held.wait()
            return answer

        return call

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)


class Scene:
    """A gate with the stores behind it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        inner = memory_access(self.clock)
        self.store: ApiKeys = inner.keys
        self.keys, self.limiter = Watched(inner.keys), Watched(inner.limiter)
        self.access: Access = replace(inner, keys=self.keys, limiter=self.limiter)  # type: ignore[arg-type]
        self.gate = Gate(self.access, self.clock)

    @property
    def now(self) -> datetime:
        return from_ms(self.clock.now_ms())

    async def key(self, **options: Any) -> tuple[str, ApiKey]:
        secret, key = mint("k", **{"kind": Kind.CLIENT, "created_by": "t", "now": self.now, **options})
        await self.store.add(key)
        return secret, key

    def stranger(self) -> str:
        """A well-formed key that nobody has made."""
        return mint("k", kind=Kind.CLIENT, created_by="t", now=self.now)[0]

    async def answers(self, secret: str, address: str = HERE) -> str:
        try:
            await self.gate.authenticate(secret, address)
        except (Denied, TooMany) as error:
            return type(error).__name__
        return "welcome"


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.keys.failure = None
    await scene.gate.close()


Break = Callable[[Scene], Any]


async def wrong_secret(scene: Scene) -> str:
    return guessed((await scene.key())[0])


def guessed(secret: str) -> str:
    """A key with the same id and another secret, formed as it should be."""
    other = mint("k", kind=Kind.CLIENT, created_by="t", now=from_ms(0))[0]
    text = secret[:17] + other[17:60]
    return text + _check(text)


async def revoked(scene: Scene) -> str:
    secret, key = await scene.key()
    await scene.store.revoke(key.id, at=scene.now)
    return secret


async def expired(scene: Scene) -> str:
    secret, _ = await scene.key(expires=timedelta(seconds=1))
    scene.clock.advance(timedelta(seconds=1))
    return secret


async def unknown(scene: Scene) -> str:
    return scene.stranger()


async def malformed(scene: Scene) -> str:
    return "jq_live_letmein"


REASONS = {
    "another secret": wrong_secret,
    "is revoked": revoked,
    "has expired": expired,
    "not known": unknown,
    "not formed": malformed,
}


async def test_a_good_key_is_let_in(scene: Scene) -> None:
    secret, key = await scene.key()

    assert await scene.gate.authenticate(secret, HERE) == key


@pytest.mark.parametrize(("why", "make"), REASONS.items())
async def test_every_refusal_sounds_the_same_and_the_log_knows_why(scene: Scene, why: str, make: Break) -> None:
    text = await make(scene)

    with capture_logs() as logs, pytest.raises(Denied) as refused:
        await scene.gate.authenticate(text, HERE)

    assert str(refused.value).startswith("no valid API key;")
    (line,) = [each for each in logs if each["event"] == "key.refused"]
    assert why in line["reason"]
    assert text[17:] not in str(logs) or not text[17:]


@pytest.mark.parametrize("make", [unknown, wrong_secret, revoked, expired])
async def test_s10_digests_are_compared_also_where_there_is_no_key(
    scene: Scene, make: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    really = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(other))
        return really(one, other)

    text = await make(scene)
    monkeypatch.setattr(hmac, "compare_digest", compare)

    assert await scene.answers(text) == "Denied"
    assert compared == [32]


async def test_s11_a_revoked_key_is_refused_after_five_seconds_at_most(scene: Scene) -> None:
    secret, key = await scene.key()
    await scene.gate.authenticate(secret, HERE)
    await scene.store.revoke(key.id, at=scene.now)

    scene.clock.advance(BELIEVED - MOMENT)
    at_last = await scene.answers(secret)
    scene.clock.advance(MOMENT)

    assert timedelta(seconds=5) >= BELIEVED
    assert at_last == "welcome"
    assert await scene.answers(secret) == "Denied"


async def test_s11_the_five_seconds_count_from_when_the_record_was_asked_for(scene: Scene) -> None:
    secret, key = await scene.key()
    scene.keys.held = asyncio.Event()
    asked = asyncio.create_task(scene.gate.authenticate(secret, HERE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await scene.store.revoke(key.id, at=scene.now)
    scene.clock.advance(BELIEVED)
    scene.keys.held.set()
    await asked

    assert await scene.answers(secret) == "Denied"


async def test_who_comes_after_five_seconds_does_not_share_an_old_question(scene: Scene) -> None:
    secret, key = await scene.key()
    scene.keys.held = asyncio.Event()
    first = asyncio.create_task(scene.answers(secret))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await scene.store.revoke(key.id, at=scene.now)
    scene.clock.advance(BELIEVED)
    late = asyncio.create_task(scene.answers(secret))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    scene.keys.held.set()

    assert (await first, await late) == ("welcome", "Denied")
    assert await scene.answers(secret) == "Denied"


async def test_a_rotated_key_ends_when_its_overlap_does_without_another_look(scene: Scene) -> None:
    secret, key = await scene.key()
    await scene.store.revoke(key.id, at=scene.now + timedelta(seconds=2))
    await scene.gate.authenticate(secret, HERE)

    scene.clock.advance(timedelta(seconds=2))

    assert await scene.answers(secret) == "Denied"
    assert scene.keys.count("get") == 1


async def test_who_changes_a_key_here_makes_the_gate_forget_it(scene: Scene) -> None:
    secret, key = await scene.key()
    await scene.gate.authenticate(secret, HERE)
    await scene.store.revoke(key.id, at=scene.now)

    scene.gate.forget(key.id)

    assert await scene.answers(secret) == "Denied"


async def test_what_is_forgotten_while_it_is_read_is_not_remembered(scene: Scene) -> None:
    secret, key = await scene.key()
    scene.keys.held = asyncio.Event()
    asked = asyncio.create_task(scene.answers(secret))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await scene.store.revoke(key.id, at=scene.now)
    scene.gate.forget(key.id)
    scene.keys.held.set()
    await asked

    assert await scene.answers(secret) == "Denied"


async def test_many_requests_at_once_ask_the_store_once(scene: Scene) -> None:
    secret, key = await scene.key()
    scene.keys.held = asyncio.Event()
    asked = [asyncio.create_task(scene.gate.authenticate(secret, HERE)) for _ in range(100)]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.sleep(0)
    scene.keys.held.set()

    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [key] * 99
    assert scene.keys.count("get") == 1


async def test_an_unknown_id_is_not_asked_for_again_at_once_and_a_new_key_works_soon(scene: Scene) -> None:
    secret, key = mint("k", kind=Kind.CLIENT, created_by="t", now=scene.now)
    for _ in range(5):
        await scene.answers(secret)
    asked = scene.keys.count("get")

    await scene.store.add(key)
    scene.clock.advance(gate_module.UNKNOWN_BELIEVED)

    assert asked == 1
    assert await scene.answers(secret) == "welcome"


# The store is away


@pytest.mark.parametrize("failure", [BrokerUnavailable("away"), RepositoryUnavailable("away")])
async def test_without_a_fresh_record_the_gate_stays_closed(scene: Scene, failure: Exception) -> None:
    secret, key = await scene.key()
    await scene.gate.authenticate(secret, HERE)
    scene.keys.failure = failure

    scene.clock.advance(BELIEVED - MOMENT)
    with_record = await scene.answers(secret)
    scene.clock.advance(MOMENT)

    assert with_record == "welcome"
    for ask in (scene.gate.authenticate(secret, HERE), scene.gate.resolve(key.id)):
        with pytest.raises(type(failure)):
            await ask
    scene.keys.failure = None
    assert await scene.answers(secret) == "welcome"


async def test_a_failure_is_nobodys_verdict_on_a_key(scene: Scene) -> None:
    secret, _ = await scene.key()
    scene.keys.failure = BrokerUnavailable("away")
    for _ in range(50):
        with pytest.raises(BrokerUnavailable):
            await scene.gate.authenticate(secret, HERE)
    scene.keys.failure = None

    assert await scene.answers(secret) == "welcome"
    assert scene.limiter.calls == []


# Brute force


async def test_s15_a_thousand_bad_keys(scene: Scene) -> None:
    secret, _ = await scene.key()
    texts = [scene.stranger() for _ in range(900)] + [f"guess {n}" for n in range(100)]

    with capture_logs() as logs:
        answers = [await scene.answers(text) for text in texts]

    assert answers == ["Denied"] * FAILURES + ["TooMany"] * (1_000 - FAILURES)
    assert scene.limiter.count("take") <= 3 * FAILURES
    assert [each["event"] for each in logs] == ["key.refused"] * FAILURES + ["key.locked_out"]
    assert not any(text[17:] in str(logs) for text in texts[:900])
    assert await scene.answers(scene.stranger(), THERE) == "Denied"
    assert await scene.answers(secret, HERE) == "welcome"


async def test_s15_then_one_guess_in_six_seconds(scene: Scene) -> None:
    for _ in range(FAILURES + 5):
        await scene.answers(scene.stranger())

    with pytest.raises(TooMany) as refused:
        await scene.gate.authenticate(scene.stranger(), HERE)
    after = refused.value.after
    scene.clock.advance(after)
    next_ones = [await scene.answers(scene.stranger()) for _ in range(3)]

    assert timedelta(0) < after <= FAILURE_EVERY
    assert next_ones == ["Denied", "TooMany", "TooMany"]


async def test_s15_one_key_guessed_from_everywhere_is_limited_and_its_owner_is_not(scene: Scene) -> None:
    good, _ = await scene.key()

    answers = [await scene.answers(guessed(good), f"203.0.113.{n}") for n in range(50)]

    assert answers == ["Denied"] * FAILURES + ["TooMany"] * (50 - FAILURES)
    assert await scene.answers(good, "203.0.113.99") == "welcome"


@pytest.mark.parametrize(
    ("addresses", "counted_as_one"),
    [
        ([f"2001:db8::{n:x}" for n in range(20)], True),
        ([f"2001:db8:0:{n:x}::1" for n in range(20)], False),
        (["192.0.2.1", "::ffff:192.0.2.1"] * 10, True),
        (["fe80::1%eth0", "fe80::2%eth1"] * 10, True),
        (["", "unix", "not an address", "\ud800"] * 5, True),
    ],
)
async def test_s15_who_can_change_its_address_is_counted_by_what_it_cannot_change(
    scene: Scene, addresses: list[str], counted_as_one: bool
) -> None:
    answers = [await scene.answers("guess", address) for address in addresses]

    assert (answers == ["Denied"] * FAILURES + ["TooMany"] * (20 - FAILURES)) is counted_as_one


async def test_records_that_a_locked_address_asks_for_are_read_one_at_a_time(scene: Scene) -> None:
    for _ in range(FAILURES + 1):
        await scene.answers("guess")
    secret, _ = await scene.key()
    scene.keys.calls.clear()
    scene.keys.held = asyncio.Event()
    flood = [asyncio.create_task(scene.answers(scene.stranger())) for _ in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    at_once = scene.keys.count("get")
    elsewhere = asyncio.create_task(scene.answers(secret, THERE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with_other = scene.keys.count("get")
    scene.keys.held.set()

    assert (at_once, with_other) == (1, 2)
    assert await elsewhere == "welcome"
    assert set(await asyncio.gather(*flood)) == {"TooMany"}
    assert scene.keys.count("get") < 20
    assert await scene.answers(secret) == "welcome"


async def test_a_limiter_that_is_away_lets_nobody_guess(scene: Scene) -> None:
    secret, _ = await scene.key()
    scene.limiter.failure = BrokerUnavailable("away")

    answers = [await scene.answers(scene.stranger()) for _ in range(100)]

    assert set(answers) == {"TooMany"}
    assert scene.limiter.count("take") == 1
    assert await scene.answers(secret) == "welcome"


async def test_memory_is_bounded_however_many_guess(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "_MOST_UNKNOWN", 50)
    monkeypatch.setattr(gate_module, "_MOST_LOCKS", 50)
    scene.limiter.failure = BrokerUnavailable("away")

    for n in range(300):
        await scene.answers(scene.stranger(), f"10.0.{n // 250}.{n % 250}")

    gate = scene.gate
    assert len(gate._unknown) <= 50
    assert len(gate._locks) <= 50
    assert not gate._lookups
    assert not gate._tasks


# Sessions, rates, last use


async def test_a_session_stands_for_a_key_as_long_as_that_is_good(scene: Scene) -> None:
    _, key = await scene.key()

    resolved = await scene.gate.resolve(key.id)
    await scene.store.revoke(key.id, at=scene.now)
    scene.clock.advance(BELIEVED)

    assert resolved == key
    for key_id in (key.id, "nobody00", "", "\ud800", "x" * 1_000):
        with pytest.raises(Denied, match="no valid API key"):
            await scene.gate.resolve(key_id)


async def test_s16_a_key_has_its_rate_and_hears_how_long_to_wait(scene: Scene) -> None:
    _, key = await scene.key(rate=5.0)
    _, slow = await scene.key(rate=0.5)
    _, free = await scene.key()

    for _ in range(5):
        await scene.gate.limit(key)
    await scene.gate.limit(slow)
    for _ in range(1_000):
        await scene.gate.limit(free)

    for limited, after in ((key, timedelta(seconds=0.2)), (slow, timedelta(seconds=2))):
        with pytest.raises(TooMany) as refused:
            await scene.gate.limit(limited)
        assert abs(refused.value.after - after) < MOMENT
    scene.clock.advance(timedelta(seconds=2))
    await scene.gate.limit(key)
    await scene.gate.limit(slow)
    assert scene.limiter.count("take") == 10


async def test_s16_without_a_limiter_a_limited_key_stays_outside(scene: Scene) -> None:
    _, limited = await scene.key(rate=5.0)
    _, free = await scene.key()
    scene.limiter.failure = BrokerUnavailable("away")

    await scene.gate.limit(free)
    with pytest.raises(BrokerUnavailable):
        await scene.gate.limit(limited)


async def test_the_last_use_is_noted_in_batches(scene: Scene) -> None:
    (one, key), (two, other) = [await scene.key() for _ in range(2)]
    for _ in range(29):
        await scene.gate.authenticate(one, HERE)
        await scene.gate.authenticate(two, HERE)
        scene.clock.advance(timedelta(seconds=1))
    early = scene.keys.count("used")
    scene.clock.advance(timedelta(seconds=1))
    await scene.gate.authenticate(one, HERE)
    await asyncio.sleep(0)
    last = scene.now
    noted = {each.id: each.last_used_at for each in await scene.store.list()}

    assert timedelta(seconds=30) == FLUSH_EVERY
    assert (early, scene.keys.count("used")) == (1, 2)
    assert noted == {key.id: last, other.id: last - timedelta(seconds=2)}


async def test_a_use_is_noted_though_nobody_comes_after_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, key = await scene.key()
    await scene.gate.authenticate(secret, HERE)
    await asyncio.sleep(0)
    monkeypatch.setattr("jobqueue.access.gate.FLUSH_EVERY", timedelta(milliseconds=10))
    scene.clock.advance(timedelta(milliseconds=1))

    await scene.gate.authenticate(secret, HERE)

    async def noted() -> bool:
        used = await scene.store.get(key.id)
        return used is not None and used.last_used_at == scene.now

    await eventually(noted)


async def test_uses_are_noted_at_the_end_and_not_lost_when_the_store_is_away(scene: Scene) -> None:
    secret, key = await scene.key()
    await scene.gate.authenticate(secret, HERE)
    await asyncio.sleep(0)
    scene.clock.advance(timedelta(seconds=1))
    await scene.gate.authenticate(secret, HERE)
    scene.keys.failure = RepositoryUnavailable("away")

    with capture_logs() as logs:
        await scene.gate.flush()
    scene.keys.failure = None
    await scene.gate.close()

    used = await scene.store.get(key.id)
    assert [each["event"] for each in logs] == ["key.use_not_noted"]
    assert used is not None
    assert used.last_used_at == scene.now


async def test_a_failed_note_disturbs_no_request(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, _ = await scene.key()

    async def refuse(last_used: Mapping[str, datetime]) -> None:
        raise JobQueueError("read-only")

    monkeypatch.setattr(scene.keys, "used", refuse, raising=False)

    assert await scene.answers(secret) == "welcome"
