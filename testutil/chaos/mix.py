"""What a producer does, in which order: a pure function of its seed."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from jobqueue.job import PRIORITIES, Priority
from testutil.chaos.crew import QUEUES

_UNIQUE_KEYS = 12
_BATCH = (5, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One job to be. *cancel_after* and *again_after* are seconds after its enqueue was answered."""

    task: str
    payload: dict[str, Any] = field(default_factory=dict)
    queue: str
    priority: Priority
    delay: timedelta | None = None
    run_at_in: timedelta | None = None
    expires: timedelta | None = None
    keyed: bool = False
    unique: str | None = None
    snooze_s: float = 0.0
    cancel_after: float | None = None
    again_after: float | None = None
    durability: str = "local"


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs to be enqueued by one call."""

    plans: tuple[Plan, ...]


def plans(seed: str, durability: tuple[str, ...]) -> Iterator[Plan | Batch]:
    """The endless work of one producer."""
    rng = random.Random(seed)
    while True:
        if rng.random() < 0.004:
            yield Batch(tuple(_plain(rng) for _ in range(rng.randint(*_BATCH))))
        else:
            yield _plan(rng, durability)


def _plan(rng: random.Random, durability: tuple[str, ...]) -> Plan:
    kinds = list(_KINDS)
    options: dict[str, Any] = {
        "queue": rng.choice(QUEUES),
        "priority": rng.choice(PRIORITIES),
        "durability": rng.choice(durability),
        "again_after": rng.uniform(0, 2) if rng.random() < 0.01 else None,
    }
    kind = rng.choices(kinds, [_KINDS[name][0] for name in kinds])[0]
    return Plan(**options | {"task": kind} | _KINDS[kind][1](rng))


def _brief(rng: random.Random) -> dict[str, Any]:
    return {"task": "quick", "payload": {"ms": rng.choice((0, 0, 5, 20, 60))}}


def _in(rng: random.Random, least_ms: int, most_ms: int) -> timedelta:
    return timedelta(milliseconds=rng.randint(least_ms, most_ms))


def _cancelled(rng: random.Random) -> dict[str, Any]:
    return {"cancel_after": rng.uniform(0.3, 2.0), "again_after": None}


def _expired(rng: random.Random) -> dict[str, Any]:
    delay = _in(rng, 500, 2000)
    return _brief(rng) | {"delay": delay, "expires": delay / 2, "again_after": None}


_KINDS: Mapping[str, tuple[float, Callable[[random.Random], dict[str, Any]]]] = {
    # how many of about 1000 jobs, and what is special about them
    "quick": (660, _brief),
    # Long enough that something runs wherever a worker is killed or stopped.
    "slow": (25, lambda rng: {"task": "quick", "payload": {"ms": rng.randint(300, 3000)}}),
    "threaded": (60, lambda rng: _brief(rng) | {"task": "threaded"}),
    "flaky": (70, lambda rng: {"payload": {"fails": rng.choice((1, 1, 2))}}),
    "doomed": (20, lambda _: {}),
    "overlong": (4, lambda _: {}),
    "block": (0.3, lambda _: {}),
    "hog": (0.06, lambda _: {}),
    "killer": (0.2, lambda rng: {"payload": {"times": rng.choice((1, 1, 1, 2, 9))}}),
    "huge": (4, lambda rng: {"payload": {"parts": rng.choice((1, 2))}}),
    "hold": (6, _cancelled),
    "stubborn": (3, lambda rng: _cancelled(rng) | {"payload": {"ms": rng.choice((200, 700, 1800))}}),
    "timeout": (4, lambda _: {}),
    "snooze": (8, lambda rng: {"snooze_s": rng.uniform(0.2, 3)}),
    "delayed": (90, lambda rng: _brief(rng) | {"delay": _in(rng, 1, 6000)}),
    "scheduled": (30, lambda rng: _brief(rng) | {"run_at_in": _in(rng, -500, 6000)}),
    "recalled": (15, lambda rng: _brief(rng) | {"delay": _in(rng, 1000, 6000)} | _cancelled(rng)),
    "expired": (5, _expired),
    "unique": (40, lambda rng: _brief(rng) | {"unique": f"unique-{rng.randrange(_UNIQUE_KEYS)}", "again_after": None}),
    "keyed": (60, lambda rng: _brief(rng) | {"keyed": True, "again_after": rng.choice((None, 0.1, 1.0, 7.0))}),
}


def _plain(rng: random.Random) -> Plan:
    return Plan(task="quick", payload={"ms": rng.choice((0, 5))}, queue=rng.choice(QUEUES), priority=Priority.MEDIUM)
