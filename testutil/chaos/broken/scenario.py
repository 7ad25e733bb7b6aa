"""What a mutant is run under: a small plant, its workload, and a fixed list of faults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from testutil.chaos.nemesis import Fault
from testutil.chaos.profile import Profile
from testutil.chaos.timetable import SCHEDULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """*kinds* maps kinds of jobs, as in `mix`, to how many of about a thousand they are.

    *drain_s*: what a whole plant needs to end everything, many times over; a broken one is waited for no longer.
    """

    name: str
    told: str
    """Its faults, in words."""
    seconds: float
    kinds: Mapping[str, float]
    faults: tuple[Fault, ...] = ()
    rate: int = 50
    lease_s: float = 3.0
    workers: int = 3
    schedulers: int = 2
    drain_s: float = 25.0
    schedules: tuple[str, ...] = ()
    profile: Profile = field(init=False)

    def __post_init__(self) -> None:
        profile = Profile(
            name=self.name,
            topology="standalone",
            weights=MappingProxyType({}),
            musts=(),
            workers=self.workers,
            producers=1,
            schedulers=self.schedulers,
            lease_s=self.lease_s,
            rate=self.rate,
            schedules=self.schedules,
            links=0,
        )
        object.__setattr__(self, "profile", profile)


def _fault(kind: str, target: int = 0, *, at: float, lasts: float, value: float = 0.0) -> Fault:
    return Fault(at_s=at, lasts_s=lasts, kind=kind, target=target, value=value)


# A tenth of all jobs take 0.3 to 3 s, so that something runs wherever a worker is killed or stopped.
_LASTING: Final = {"quick": 800, "slow": 120}

QUIET: Final = Scenario(
    name="quiet",
    told="no faults",
    seconds=3,
    kinds={"quick": 500, "flaky": 150, "snooze": 150, "keyed": 100},
    workers=2,
    schedulers=1,
)
BACKLOG: Final = Scenario(
    name="backlog",
    told="all workers stopped for less than a lease",
    seconds=6,
    kinds={"quick": 600, "unique": 200},
    faults=tuple(_fault("worker.nap", worker, at=1.5, lasts=2) for worker in (0, 1)),
    rate=120,
    lease_s=4,
    workers=2,
    schedulers=1,
)
DEATHS: Final = Scenario(
    name="deaths",
    told="workers killed, one as the last jobs come",
    seconds=8,
    kinds=_LASTING,
    faults=(
        _fault("worker.kill", 0, at=1.5, lasts=2),
        _fault("worker.kill", 1, at=4, lasts=2),
        # Nothing new comes once its lease has run out.
        _fault("worker.kill", 2, at=7.4, lasts=0.4),
    ),
)
STOPS: Final = Scenario(
    name="stops",
    told="workers stopped for longer than a lease",
    seconds=13,
    kinds=_LASTING,
    faults=(_fault("worker.stop", 0, at=1, lasts=5), _fault("worker.stop", 1, at=7, lasts=5)),
)
OUTAGE: Final = Scenario(
    name="outage",
    told="Redis killed, and away for longer than a lease",
    seconds=9,
    kinds=_LASTING,
    # Not stopped: the beats that wait in its sockets would renew every lease when it goes on.
    faults=(_fault("server.kill", at=2, lasts=4),),
    drain_s=40,
)
LOST_WORDS: Final = Scenario(
    name="lost-words",
    told="requests and replies dropped, connections reset",
    seconds=10,
    kinds=_LASTING,
    faults=(
        _fault("wire.drop_replies", at=1, lasts=2, value=20),
        _fault("wire.drop_requests", at=3, lasts=2, value=20),
        _fault("wire.drop_replies", at=5, lasts=2, value=20),
        # Slow answers are on their way when their connection is reset.
        _fault("wire.latency", at=7, lasts=2.5, value=0.05),
        _fault("wire.reset", at=7.5, lasts=2, value=0.3),
    ),
    rate=80,
)
PROMOTERS: Final = Scenario(
    name="promoters",
    told="a scheduler and a worker killed",
    seconds=6,
    kinds={"quick": 300, "delayed": 500, "scheduled": 100},
    faults=(_fault("scheduler.kill", 0, at=2, lasts=2), _fault("worker.kill", 0, at=3, lasts=2)),
)
SHIPPERS: Final = Scenario(
    name="shippers",
    told="slow Postgres, schedulers killed",
    seconds=9,
    kinds={"quick": 700, "flaky": 100, "doomed": 50},
    # Slow answers of Postgres make room for a death between any two of them.
    faults=(
        _fault("history.latency", at=1, lasts=7.5, value=0.15),
        _fault("scheduler.kill", 0, at=2.5, lasts=1),
        _fault("scheduler.kill", 1, at=4, lasts=1),
        # By now it may be the only one that ships.
        _fault("scheduler.kill", 2, at=6, lasts=1),
    ),
    schedulers=3,
)
DEAD_LOOP: Final = Scenario(
    name="dead-loop",
    told="handlers that block the event loop",
    seconds=5,
    kinds={"quick": 990, "hog": 10},
    workers=3,
    schedulers=1,
    drain_s=60,
)
RIVALS: Final = Scenario(
    name="rivals",
    told="three schedulers on a slow network",
    seconds=5,
    kinds={"quick": 100},
    faults=(_fault("wire.latency", at=0.5, lasts=4, value=0.03),),
    rate=10,
    workers=2,
    schedulers=3,
    schedules=SCHEDULES,
)
TICKS: Final = Scenario(
    name="ticks",
    told="a slow network, schedulers killed, Redis stopped",
    seconds=11,
    kinds={"quick": 100},
    faults=(
        _fault("wire.latency", at=1, lasts=9, value=0.02),
        _fault("scheduler.kill", 0, at=2, lasts=1),
        _fault("scheduler.kill", 2, at=4, lasts=1),
        _fault("server.stop", at=6, lasts=2.5),
        _fault("scheduler.kill", 0, at=9.2, lasts=0.5),
    ),
    rate=10,
    workers=2,
    schedulers=3,
    schedules=SCHEDULES,
)

SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        each.name: each
        for each in (QUIET, BACKLOG, DEATHS, STOPS, OUTAGE, LOST_WORDS, PROMOTERS, SHIPPERS, DEAD_LOOP, RIVALS, TICKS)
    }
)
