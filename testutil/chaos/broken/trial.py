"""One run of a plant with a mutant, or with none, and what the checks said."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testutil.chaos.broken.mutant import VARIABLE, Mutant
from testutil.chaos.broken.scenario import Scenario
from testutil.chaos.run import run


@dataclass(slots=True, kw_only=True)
class Trial:
    """*mutant* None: a control, which must be clean. *failed* counts the breaches of each check that failed."""

    scenario: Scenario
    mutant: Mutant | None
    seconds: float
    failed: dict[str, int] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    line: str = ""

    @property
    def ok(self) -> bool:
        return self.mutant.caught_by in self.failed if self.mutant else not self.failed

    @property
    def name(self) -> str:
        return self.mutant.name if self.mutant else f"(whole: {self.scenario.name})"


async def try_mutant(mutant: Mutant, folder: Path, *, seed: int = 1, seconds: float | None = None) -> Trial:
    """Run *mutant* under its scenario."""
    return await _try(mutant.scenario, mutant, folder, seed, seconds)


async def try_whole(scenario: Scenario, folder: Path, *, seed: int = 1, seconds: float | None = None) -> Trial:
    """Run the product as it is under the same faults and the same workload."""
    return await _try(scenario, None, folder, seed, seconds)


async def _try(scenario: Scenario, mutant: Mutant | None, folder: Path, seed: int, seconds: float | None) -> Trial:
    began = time.monotonic()
    with _environment({VARIABLE: mutant.name if mutant else "", "CHAOS_SCENARIO": scenario.name}):
        report = await run(
            scenario.profile,
            seed=seed,
            seconds=max(seconds or 0, scenario.seconds),
            folder=folder,
            faults=scenario.faults,
            drain_s=scenario.drain_s,
        )
    return Trial(
        scenario=scenario,
        mutant=mutant,
        seconds=time.monotonic() - began,
        failed={name: count for name, count in report.failures.items() if count},
        details=report.details,
        line=report.line,
    )


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """The crew hands its own environment on to its members."""
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
