"""The schedule of faults: a pure function of seed, duration and profile.

for fault in plan(7, 300, PROFILES["standalone"]):
    print(fault.at_s, fault.lasts_s, fault.kind, fault.target)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from testutil.chaos.profile import Profile

FAULTS_PER_MINUTE: Final = 14
QUIET_SHARE: Final = 0.1
_WARM_UP_S: Final = 2.0
_PLACES_TRIED: Final = 60
_OUTAGE_SHARE: Final = 0.35
_BREATH_S: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """*target* chooses among what *kind* can hit; *value* is the kind's own number, see `Kind.value`."""

    at_s: float
    lasts_s: float
    kind: str
    target: int
    value: float

    @property
    def ends_s(self) -> float:
        return self.at_s + self.lasts_s

    @property
    def role(self) -> str:
        """What it hits, such as worker, wire or history."""
        return self.kind.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How long a fault of this kind lasts, and the range of its number: seconds, bytes a second, bytes, or a count.

    During an *outage* nobody reaches Redis, or one of its shards, or what was written there is in danger.
    """

    seconds: tuple[float, float] = (2.0, 15.0)
    value: tuple[float, float] = (0.0, 0.0)
    outage: bool = False


KINDS: Final[dict[str, Kind]] = {
    "worker.kill": Kind(),
    "worker.term": Kind(seconds=(2.0, 8.0)),
    "worker.stop": Kind(seconds=(5.0, 12.0)),
    "worker.nap": Kind(seconds=(2.0, 2.5)),
    "link.stall": Kind(seconds=(4.0, 9.0)),
    "link.half_open": Kind(seconds=(4.0, 9.0)),
    "link.mute_replies": Kind(seconds=(4.0, 9.0)),
    "link.latency": Kind(value=(0.1, 0.6)),
    "link.reset": Kind(seconds=(2.0, 6.0), value=(0.1, 0.5)),
    "scheduler.kill": Kind(),
    "scheduler.stop": Kind(),
    "producer.kill": Kind(seconds=(2.0, 8.0)),
    "producer.stop": Kind(seconds=(2.0, 8.0)),
    "wire.latency": Kind(value=(0.02, 0.3)),
    "wire.throttle": Kind(value=(50_000, 500_000)),
    "wire.reset": Kind(seconds=(2.0, 6.0), value=(0.2, 1.0)),
    "wire.cut_replies": Kind(seconds=(2.0, 6.0), value=(1, 2000)),
    "wire.drop_replies": Kind(seconds=(2.0, 8.0), value=(1, 8)),
    "wire.drop_requests": Kind(seconds=(2.0, 8.0), value=(1, 8)),
    "wire.swallow_replies": Kind(seconds=(2.0, 10.0), value=(1, 3)),
    "wire.stall": Kind(seconds=(2.0, 9.0), outage=True),
    "wire.mute_requests": Kind(seconds=(2.0, 8.0), outage=True),
    "wire.mute_replies": Kind(seconds=(2.0, 9.0), outage=True),
    "wire.half_open": Kind(seconds=(2.0, 9.0), outage=True),
    "wire.refuse": Kind(seconds=(2.0, 6.0), outage=True),
    "server.script_flush": Kind(value=(0.05, 0.5)),
    "server.client_kill": Kind(seconds=(2.0, 8.0), value=(0.2, 1.0)),
    "server.client_pause": Kind(seconds=(2.0, 8.0), outage=True),
    "server.debug_sleep": Kind(seconds=(2.0, 7.0), outage=True),
    "server.restart": Kind(seconds=(2.0, 4.0), outage=True),
    "server.kill": Kind(seconds=(2.0, 8.0), outage=True),
    "server.stop": Kind(seconds=(2.0, 8.0), outage=True),
    "history.latency": Kind(value=(0.05, 0.5)),
    "history.reset": Kind(seconds=(2.0, 6.0), value=(0.1, 1.0)),
    "history.cut_replies": Kind(seconds=(2.0, 6.0), value=(1, 2000)),
    "history.stall": Kind(),
    "history.half_open": Kind(),
    "history.mute_replies": Kind(),
    "history.refuse": Kind(),
    "history.terminate": Kind(seconds=(2.0, 8.0), value=(0.2, 1.0)),
    "history.lock": Kind(),
    "history.kill": Kind(),
    "history.restart": Kind(seconds=(2.0, 4.0)),
    "history.stop": Kind(),
    "sentinel.failover": Kind(seconds=(4.0, 6.0), outage=True),
    "primary.kill": Kind(seconds=(5.0, 8.0), outage=True),
    "primary.stop": Kind(seconds=(5.0, 8.0), outage=True),
    "replica.partition": Kind(seconds=(3.0, 9.0), outage=True),
    "replica.kill": Kind(seconds=(3.0, 9.0), outage=True),
    "cluster.failover": Kind(seconds=(4.0, 6.0), outage=True),
    # Half moved, its keys answer TRYAGAIN to every script.
    "cluster.move_slot": Kind(seconds=(2.0, 4.0), outage=True),
}

# One thing at a time happens to each of these; faults of different ones overlap as they will.
SERVERS: Final = frozenset({"server", "sentinel", "cluster", "primary", "replica"})


def plan(seed: int, seconds: float, profile: Profile) -> list[Fault]:
    """What happens in a run of *seconds*, in order of beginning; the same for the same arguments.

    The last tenth is quiet. Outages never overlap and leave time between them for work to be done; at least one
    process of each role is always whole, and so is one link.
    """
    random = Random(f"{seed}/{profile.name}/{seconds:g}")
    return sorted(_Draft(random, seconds, profile).fill(), key=lambda fault: (fault.at_s, fault.kind, fault.target))


class _Draft:
    def __init__(self, random: Random, seconds: float, profile: Profile) -> None:
        self._random = random
        self._profile = profile
        self._begin_s = min(_WARM_UP_S, seconds * QUIET_SHARE)
        self._end_s = seconds * (1 - QUIET_SHARE)
        self._count = math.ceil(FAULTS_PER_MINUTE * seconds / 60)
        self._faults: list[Fault] = []

    def fill(self) -> list[Fault]:
        for kind in self._profile.musts[: self._count]:
            self._place(kind)
        kinds, weights = zip(*self._profile.weights.items(), strict=True)
        while len(self._faults) < self._count:
            # A worker's death always finds a place, but where that fails too there is none left for anything.
            if not self._place(self._random.choices(kinds, weights)[0]) and not self._place("worker.kill"):
                break
        return self._faults

    def _place(self, kind: str) -> bool:
        """Find a time and a target at which *kind* may happen."""
        for _ in range(_PLACES_TRIED):
            fault = self._draw(kind)
            if self._may_happen(fault):
                self._faults.append(fault)
                return True
        return False

    def _draw(self, kind: str) -> Fault:
        traits = KINDS[kind]
        room_s = self._end_s - self._begin_s
        lasts_s = round(min(self._random.uniform(*traits.seconds), room_s * 0.9), 2)
        role = kind.partition(".")[0]
        return Fault(
            at_s=round(self._random.uniform(self._begin_s, self._end_s - lasts_s), 2),
            lasts_s=lasts_s,
            kind=kind,
            target=self._random.randrange(self._profile.size(role)) if role in _CREW else self._random.randrange(6),
            value=round(self._random.uniform(*traits.value), 3),
        )

    def _may_happen(self, fault: Fault) -> bool:
        if fault.ends_s > self._end_s:
            return False
        if fault.role in _CREW:
            return self._spares_the_crew(fault)
        if KINDS[fault.kind].outage:
            return self._leaves_time_to_work(fault)
        return not any(_overlap(fault, other) and _exclude(fault, other) for other in self._faults)

    def _spares_the_crew(self, fault: Fault) -> bool:
        others = [other for other in self._faults if other.role == fault.role and _overlap(fault, other)]
        targets = {other.target for other in others}
        return fault.target not in targets and len(targets) < max(1, self._profile.size(fault.role) - 1)

    def _leaves_time_to_work(self, fault: Fault) -> bool:
        outages = [other for other in self._faults if KINDS[other.kind].outage]
        total_s = fault.lasts_s + sum(other.lasts_s for other in outages)
        if outages and total_s > _OUTAGE_SHARE * (self._end_s - self._begin_s):
            return False
        return not any(_overlap(fault, other, apart_s=_BREATH_S) for other in outages) and not any(
            _overlap(fault, other) and _exclude(fault, other) for other in self._faults
        )


_CREW: Final = frozenset({"worker", "producer", "scheduler", "link"})


def _overlap(one: Fault, other: Fault, *, apart_s: float = 0.5) -> bool:
    return one.at_s < other.ends_s + apart_s and other.at_s < one.ends_s + apart_s


def _exclude(one: Fault, other: Fault) -> bool:
    """Whether the two would undo or hide each other."""
    if one.role in SERVERS and other.role in SERVERS:
        return True
    return one.kind == other.kind or (one.role == other.role == "history")


def overlaps(faults: Sequence[Fault]) -> int:
    """How many pairs of *faults* are there at the same time."""
    return sum(_overlap(one, other, apart_s=0.0) for index, one in enumerate(faults) for other in faults[index + 1 :])
