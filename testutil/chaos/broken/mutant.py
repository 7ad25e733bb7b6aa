"""The brokers that are broken on purpose: what each does, under which faults it shows, and which check must see it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from testutil.chaos.broken import in_cron, in_lua, in_python
from testutil.chaos.broken.scenario import (
    BACKLOG,
    DEAD_LOOP,
    DEATHS,
    LOST_WORDS,
    OUTAGE,
    PROMOTERS,
    QUIET,
    RIVALS,
    SHIPPERS,
    STOPS,
    TICKS,
    Scenario,
)

VARIABLE: Final = "CHAOS_BROKEN"
"""Names the mutant in the environment of a plant's processes; empty: none, but the workload of `CHAOS_SCENARIO`."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """*apply* breaks this process; its docstring says what a naive design does."""

    apply: Callable[[], None]
    scenario: Scenario
    caught_by: str
    """The check of `testutil.chaos.check` that must fail; others may fail beside it."""

    @property
    def name(self) -> str:
        return self.apply.__name__

    @property
    def naive(self) -> str:
        """What a naive design does, in a sentence."""
        return " ".join((self.apply.__doc__ or "").split())


MUTANTS: Final[Mapping[str, Mutant]] = MappingProxyType(
    {
        mutant.name: mutant
        for mutant in (
            Mutant(in_python.ack_before_run, DEATHS, "stuck"),
            Mutant(in_python.no_reaper, DEATHS, "stuck"),
            Mutant(in_python.reaper_after_traffic, DEATHS, "stuck"),
            Mutant(in_lua.no_fence, STOPS, "stale_settlements_accepted"),
            Mutant(in_lua.group_at_the_end, QUIET, "stuck"),
            Mutant(in_lua.bounded_job_stream, BACKLOG, "stuck"),
            Mutant(in_lua.enqueue_not_idempotent, LOST_WORDS, "unexplained_duplicates"),
            Mutant(in_lua.no_amnesty, OUTAGE, "reaped_without_amnesty"),
            Mutant(in_python.cursor_apart, SHIPPERS, "written_twice"),
            Mutant(in_lua.live_keys_expire, QUIET, "memory"),
            Mutant(in_python.dead_loop_beats, DEAD_LOOP, "dead_loops_kept_alive"),
            Mutant(in_python.promote_in_steps, PROMOTERS, "unexplained_duplicates"),
            Mutant(in_python.lost_replies_forgotten, LOST_WORDS, "stuck"),
            Mutant(in_python.settlement_not_confirmed, LOST_WORDS, "unexplained_duplicates"),
            Mutant(in_python.trim_before_commit, SHIPPERS, "unrecorded"),
            Mutant(in_lua.promoted_early, QUIET, "early_starts"),
            Mutant(in_lua.unique_not_held, BACKLOG, "unique_violated"),
            Mutant(in_cron.fired_without_a_look, RIVALS, "ticks_doubled"),
            Mutant(in_cron.advanced_before_enqueued, TICKS, "lost"),
            Mutant(in_cron.host_clock_decides, RIVALS, "ticks_early"),
            Mutant(in_cron.only_the_newest_tick, TICKS, "ticks_missing"),
            Mutant(in_cron.overlap_not_judged, RIVALS, "ticks_overlapped"),
        )
    }
)


def table() -> str:
    """The mutants as the documentation shows them."""
    rows = [
        f"| `{each.name}` | {each.naive} | {each.scenario.told} | `{each.caught_by}` |" for each in MUTANTS.values()
    ]
    return "\n".join(["| broker | what it does | under | caught by |", "|---|---|---|---|", *rows])
