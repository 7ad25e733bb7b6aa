"""What a chaos run is made of: servers, crew, durability, and which faults come how often."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from testutil.chaos.timetable import SCHEDULES

Binary = Literal["valkey", "redis-server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """*weights* maps a kind of fault to how often it comes; *musts* come in every run that has room for them."""

    name: str
    topology: Literal["standalone", "always", "sentinel", "cluster"]
    debian: bool = False
    loses: bool = False
    """A failover may forget acknowledged writes."""
    durability: tuple[str, ...] = ("local",)
    weights: Mapping[str, float]
    musts: tuple[str, ...]
    workers: int = 6
    slots: int = 8
    producers: int = 3
    schedulers: int = 3
    lease_s: float = 3.0
    rate: int = 200
    schedules: tuple[str, ...] = SCHEDULES
    """Which of the plant's schedules there are."""
    links: int = 2
    """How many workers have a cable of their own."""

    def size(self, role: str) -> int:
        """How many targets a fault on *role* has to choose from; 1 for what exists once."""
        if role == "link":
            return max(1, self.links)
        sizes = {"worker": self.workers, "producer": self.producers, "scheduler": self.schedulers}
        return sizes.get(role, 1)

    @property
    def binary(self) -> Binary:
        """The server this profile is meant for, as far as this machine has it."""
        return "redis-server" if self.debian and shutil.which("redis-server") else "valkey"


def small(profile: Profile) -> Profile:
    """The same with a crew for a machine that has other things to do."""
    return replace(profile, workers=3, producers=2, schedulers=2, rate=60)


_MEMBERS: Final = {
    "worker.kill": 8.0,
    "worker.term": 3.0,
    "worker.stop": 6.0,
    "worker.nap": 2.0,
    "scheduler.kill": 4.0,
    "scheduler.stop": 2.0,
    "producer.kill": 2.0,
    "producer.stop": 1.0,
}
_WIRE: Final = {
    "wire.latency": 3.0,
    "wire.throttle": 1.5,
    "wire.reset": 2.0,
    "wire.cut_replies": 2.0,
    "wire.drop_replies": 3.0,
    "wire.drop_requests": 2.0,
    "wire.swallow_replies": 2.0,
    "wire.stall": 1.5,
    "wire.mute_requests": 1.0,
    "wire.mute_replies": 1.5,
    "wire.half_open": 1.5,
    "wire.refuse": 1.0,
}
_SERVER: Final = {
    "server.script_flush": 3.0,
    "server.client_kill": 3.0,
    "server.client_pause": 1.5,
    "server.debug_sleep": 1.0,
    "server.restart": 1.5,
    "server.kill": 2.0,
    "server.stop": 1.5,
}
_HISTORY: Final = {
    "history.latency": 1.5,
    "history.reset": 1.5,
    "history.stall": 1.0,
    "history.terminate": 1.0,
}
_POSTGRES: Final = {
    "history.latency": 3.0,
    "history.reset": 4.0,
    "history.stall": 4.0,
    "history.half_open": 3.0,
    "history.mute_replies": 3.0,
    "history.refuse": 2.0,
    "history.cut_replies": 3.0,
    "history.terminate": 4.0,
    "history.lock": 4.0,
    "history.kill": 5.0,
    "history.restart": 3.0,
    "history.stop": 4.0,
}
_SENTINEL: Final = {
    "sentinel.failover": 4.0,
    "primary.kill": 4.0,
    "primary.stop": 3.0,
    "replica.partition": 2.0,
    "replica.kill": 1.0,
}
_CLUSTER: Final = {
    "cluster.failover": 4.0,
    "cluster.move_slot": 4.0,
    "primary.kill": 4.0,
    "primary.stop": 2.0,
    "replica.kill": 1.0,
}

# Longer than the lease: what such a worker sends when it wakes up must be refused, and the checker wants to see it.
_STOPS: Final = ("worker.stop", "worker.kill", "worker.stop", "worker.stop", "worker.stop")
# Only where a single server's address is all there is to know: Sentinels and Clusters name the nodes themselves.
_LINKS: Final = {
    "link.stall": 2.0,
    "link.half_open": 2.0,
    "link.mute_replies": 2.0,
    "link.latency": 1.0,
    "link.reset": 1.0,
}
_SINGLE: Final = _MEMBERS | _LINKS | _WIRE | _SERVER | _HISTORY
_SINGLE_MUSTS: Final = (*_STOPS, "server.kill", "wire.drop_replies", "link.stall", "link.stall", "server.script_flush")
# A failover takes the place of the restarts of a single server.
_SOFT_SERVER: Final = {kind: _SERVER[kind] for kind in ("server.script_flush", "server.client_kill")}
_SOFT_WIRE: Final = {kind: weight / 2 for kind, weight in _WIRE.items()}


def _single(
    name: str, topology: Literal["standalone", "always"], *, debian: bool, durability: tuple[str, ...]
) -> Profile:
    return Profile(
        name=name,
        topology=topology,
        debian=debian,
        durability=durability,
        # While a sync takes its time, `everysec` puts writes off: what is acknowledged then dies with the process.
        loses=topology == "standalone",
        weights=_frozen(_SINGLE),
        musts=_SINGLE_MUSTS,
    )


def _frozen(weights: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(weights))


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            # Redis 7.0 has no WAITAOF: it can keep `fsync` only where it syncs always.
            _single("standalone", "standalone", debian=True, durability=("local",)),
            _single("always", "always", debian=True, durability=("local", "fsync")),
            _single("valkey", "always", debian=False, durability=("local", "fsync")),
            Profile(
                name="sentinel",
                topology="sentinel",
                # Both replicas: Sentinel may promote either.
                durability=("local", "replicated:2"),
                loses=True,
                links=0,
                weights=_frozen(_MEMBERS | _SOFT_WIRE | _SOFT_SERVER | _HISTORY | _SENTINEL),
                musts=(*_STOPS, "sentinel.failover", "primary.kill"),
            ),
            Profile(
                name="cluster",
                topology="cluster",
                durability=("local", "replicated:1"),
                loses=True,
                links=0,
                weights=_frozen(_MEMBERS | _SOFT_WIRE | _SOFT_SERVER | _HISTORY | _CLUSTER),
                musts=(*_STOPS, "cluster.failover", "primary.kill", "cluster.move_slot"),
            ),
            Profile(
                name="postgres",
                topology="standalone",
                durability=("local", "fsync"),
                weights=_frozen(_MEMBERS | _LINKS | _SOFT_WIRE | _SOFT_SERVER | _POSTGRES),
                musts=(
                    *_STOPS,
                    "link.stall",
                    "link.stall",
                    "history.kill",
                    "history.stop",
                    "history.lock",
                    "history.reset",
                ),
            ),
        )
    }
)
