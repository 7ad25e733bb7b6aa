"""The plant's schedules, and what is done to them: pure functions of a seed."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from jobqueue.schedule import Misfire, Overlap
from testutil.chaos.crew import QUEUES

Op = Literal["upsert", "pause", "resume", "remove", "run", "backfill"]

TASK: Final = "ticked"
GRACE: Final = timedelta(seconds=4)
MAX_CATCHUP: Final = 4
BACKFILLED: Final = timedelta(seconds=8)
"""How far back a backfill goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What stays the same of a schedule, however it is edited."""

    misfire: Misfire
    overlap: Overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Something to be done to a schedule; all but the first two count for `upsert` only. *ms*: how long its jobs
    take."""

    op: Op
    name: str
    period_s: int = 1
    ms: int = 0
    queue: str = QUEUES[0]


RULINGS: Final[Mapping[str, Ruling]] = {
    f"{overlap}-{misfire}": Ruling(misfire=misfire, overlap=overlap) for overlap in Overlap for misfire in Misfire
}
DECLARED: Final = "declared"
"""The one that is defined in code: it can be paused, resumed, run and backfilled."""
DECLARED_RULING: Final = Ruling(misfire=Misfire.ALL, overlap=Overlap.SKIP)
SCHEDULES: Final = (*RULINGS, DECLARED)

_OPS: Final[Mapping[Op, float]] = {
    "upsert": 50,
    "pause": 8,
    "resume": 30,
    "remove": 4,
    "run": 6,
    "backfill": 6,
}
_PERIODS_S: Final = (1, 1, 1, 2, 5)
_MS: Final = (0, 0, 20, 400, 1300, 2600)


def expression(period_s: int) -> str:
    """Every so many seconds of each minute."""
    return f"*/{period_s} * * * * *" if period_s > 1 else "* * * * * *"


def period_of(expression: str) -> int:
    """The period that `expression` said.

    Raises:
        ValueError: it says something else.
    """
    second, *others = expression.split()
    if others != ["*"] * 5 or not (second == "*" or second.startswith("*/")):
        raise ValueError(f"no expression of the plant's: {expression!r}")
    return int(second[2:] or 1)


def beginnings(names: Sequence[str]) -> list[Edit]:
    """The schedules of the plant as they begin: each second, on the three queues in turn."""
    return [
        Edit(op="upsert", name=name, ms=_MS[number % len(_MS)], queue=QUEUES[number % len(QUEUES)])
        for number, name in enumerate(names)
        if name != DECLARED
    ]


def endings(names: Sequence[str]) -> list[Edit]:
    """What is done to them when all is over; what is defined in code cannot be removed."""
    return [Edit(op="pause" if name == DECLARED else "remove", name=name) for name in names]


def edits(seed: str, names: Sequence[str]) -> Iterator[Edit]:
    """The endless edits of one producer."""
    rng = random.Random(seed)
    while True:
        yield Edit(
            op=rng.choices(list(_OPS), list(_OPS.values()))[0],
            name=rng.choice(names),
            period_s=rng.choice(_PERIODS_S),
            ms=rng.choice(_MS),
            queue=rng.choice(QUEUES),
        )
