"""What a run is judged to be."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run is judged by.

    *loses*: acknowledged writes may vanish in a `Fault` that says so (Redis killed without `appendfsync always`,
    a failover with asynchronous replication); what these explain is measured, not a failure.
    *grace_s* is what a loaded machine may add to the recovery bound.
    *weak_ok*: a run too short to demand that a stale settlement was rejected.
    """

    loses: bool = False
    weak_ok: bool = False
    lease_s: float = 3.0
    reap_s: float = 1.0
    grace_s: float = 1.0


@dataclass(slots=True)
class Verdict:
    """*failures*: how often each rule was broken, every rule named, 0 when kept. *measures*: what is reported besides.
    *details*: a line for each of the first broken ones."""

    failures: dict[str, int] = field(default_factory=dict)
    measures: dict[str, float | int | str | None] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(self.failures.values())
