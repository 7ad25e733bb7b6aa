"""How safe a job must be before its enqueue is answered."""

import re
from typing import Literal

import msgspec

from jobqueue.errors import InvalidJob

Level = Literal["local", "fsync", "replicated"]
_FORM = re.compile(r"(local|fsync|replicated)(?::([1-9][0-9]?))?")


class Durability(msgspec.Struct, frozen=True):
    """`local`: the primary has it in memory. `fsync`: it is on the primary's disk. `replicated`: so many replicas
    have it, too."""

    level: Level = "local"
    replicas: int = 0

    def __str__(self) -> str:
        return f"{self.level}:{self.replicas}" if self.replicas else self.level


LOCAL = Durability()


def read_durability(value: "str | Durability") -> Durability:
    """Read `local`, `fsync`, `replicated` (by one replica) or `replicated:2`.

    Raises:
        InvalidJob: it is none of these.
    """
    if isinstance(value, Durability):
        return value
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found[2] and found[1] != "replicated"):
        raise InvalidJob(f"durability must be local, fsync, replicated or replicated:2, got {value!r}")
    if found[1] == "replicated":
        return Durability("replicated", int(found[2] or 1))
    return LOCAL if found[1] == "local" else Durability("fsync")
