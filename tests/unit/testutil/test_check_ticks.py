"""The checks of ticks can fail: a hand-written record for each way to break the rules, and for what is allowed."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jobqueue.schedule import tick_id
from testutil.chaos.check import judge
from testutil.chaos.editions import Edition
from testutil.chaos.evidence import gather
from testutil.chaos.final import Executed, FinalState, Tick
from testutil.chaos.history import Edited, Editing, End, Event, Fault, Logged, Record, Start, Ticked
from testutil.chaos.timetable import RULINGS, SCHEDULES, beginnings, edits, endings, expression, period_of
from testutil.chaos.verdict import Rules, Verdict

QUIET = Rules(weak_ok=True)
LOSING = Rules(weak_ok=True, loses=True)


class Story:
    """Schedule s ticks each second; its ticks and times are told in seconds. Each job of a tick runs for 0.1 s."""

    def __init__(self) -> None:
        self.final = FinalState()
        self.records: list[tuple[str, Record]] = []
        self.faults: list[Fault] = []
        self.events: list[Event] = []
        self.logs: list[Logged] = []
        for number in range(2):
            self.scheduler(number, 50.0)
        self._numbers = itertools.count(1)

    def judged(self, rules: Rules = QUIET) -> Verdict:
        return judge(
            gather(self.final, rules, records=self.records, faults=self.faults, events=self.events, logs=self.logs)
        )

    def edition(self, version: int, since: float, *, state: str = "active", every: int = 1, **rules: str) -> None:
        options = {"misfire": "once", "overlap": "allow", "queue": "q", **rules}
        self.final.editions.append(
            Edition(
                name="s",
                version=version,
                state=state,
                since_ms=int(since * 1000),
                expression=expression(every),
                mark=f"mark {version}",
                **options,
            )
        )

    def decide(self, tick: float, decision: str, reason: str, *, version: int = 1, **more: Any) -> Tick:
        at = more.pop("at", tick + 0.01)
        row = Tick(
            name="s",
            queue="q",
            version=version,
            decision=decision,
            reason=reason,
            tick_ms=int(tick * 1000),
            first_ms=int(more.pop("first", tick) * 1000),
            count=more.pop("count", 1),
            job_id=more.pop("job_id", tick_id("s", int(tick * 1000)) if decision in ("fired", "backfilled") else ""),
            at_ms=int(at * 1000),
        )
        self.final.ticks.append(row)
        return row

    def fire(self, *ticks: float, reason: str = "on_time", version: int = 1, takes: float = 0.1, **more: Any) -> None:
        """The tick fires, and its job runs at once."""
        for tick in ticks:
            row = self.decide(tick, "fired", reason, version=version, **more)
            self.run(row.job_id, tick, row.at_ms / 1000 + 0.01, takes, f"mark {version}")

    def run(self, job_id: str, tick: float, at: float, takes: float, mark: str) -> None:
        who = {"id": job_id, "attempt": 1, "worker": "W0", "pid": 100}
        start = Start(at=at, mono=at, queue="q", type="ticked", **who)
        end = End(at=at + takes, mono=at + takes, how="returned", **who)
        ticked = Ticked(at=at, id=job_id, schedule="s", tick_ms=int(tick * 1000), mark=mark)
        self.records += [("worker-0.1", record) for record in (start, ticked, end)]
        self.final.executions.append(
            Executed(
                id=job_id,
                queue="q",
                generation=0,
                attempt=1,
                outcome="completed",
                worker="W0",
                type="ticked",
                queued=at,
                started=at,
                finished=at + takes,
            )
        )

    def edit(self, op: str, at: float, version: int, answer: str = "done", jobs: list[str] | None = None) -> None:
        n, mark = next(self._numbers), f"mark {version}"
        self.records.append(("producer-0.1", Editing(at=at, n=n, op=op, name="s", mark=mark)))
        done = Edited(at=at + 0.1, n=n, op=op, name="s", mark=mark, answer=answer, version=version, jobs=jobs or [])
        self.records.append(("producer-0.1", done))

    def scheduler(self, number: int, at: float, generation: int = 1) -> None:
        """One of the schedulers has started."""
        self.logs.append(
            Logged(member=f"scheduler-{number}", generation=generation, at=at, event="scheduler.started", fields={})
        )

    def event(self, what: str, number: int, at: float) -> None:
        self.events.append(Event(at=at, what=what, member=f"scheduler-{number}", generation=1, pid=number))

    def fault(self, kind: str, began: float, ended: float, **more: Any) -> None:
        self.faults.append(Fault(n=len(self.faults), kind=kind, began=began, ended=ended, **more))


def once(story: Story, **rules: str) -> None:
    """From 100.5 to 110.5 one version, each tick fired; then the schedule is removed."""
    story.edition(1, 100.5, **rules)
    story.edition(2, 110.5, state="removed", **rules)
    story.fire(*range(101, 111))


def edited(story: Story) -> None:
    """At 105.5 it is edited to tick every 2 s."""
    story.edition(1, 100.5)
    story.edition(2, 105.5, every=2)
    story.edition(3, 110.5, state="removed")
    story.fire(*range(101, 106))
    story.fire(106, 108, 110, version=2)
    story.edit("upsert", 105.4, 2)


def paused(story: Story) -> None:
    story.edition(1, 100.5)
    story.edition(2, 103.5, state="paused")
    story.edition(3, 106.5)
    story.edition(4, 108.5, state="removed")
    story.fire(101, 102, 103)
    story.fire(107, 108, version=3)


def overtaken(story: Story) -> None:
    """The old version decided one more tick before the new one was carried over to where the schedule stands."""
    story.edition(1, 100.5)
    story.edition(2, 102.9)
    story.edition(3, 105.5, state="removed")
    story.fire(101, 102, 103)
    story.fire(104, 105, version=2)
    story.edit("upsert", 102.8, 2)
    story.records[-1][1].at = 103.4


def missed_once(story: Story) -> None:
    """Nobody decided from 101 to 107."""
    story.edition(1, 100.5, misfire="once")
    story.edition(2, 112.5, state="removed")
    story.fault("server.stop", 100.6, 111.9)
    story.decide(106, "skipped", "made_up", first=101, count=6, at=112)
    story.fire(107, reason="caught_up", at=112)
    story.fire(*range(108, 113), at=112)


def missed_skip(story: Story) -> None:
    story.edition(1, 100.5, misfire="skip")
    story.edition(2, 112.5, state="removed")
    story.fault("wire.stall", 100.6, 111.9)
    story.decide(107, "skipped", "missed", first=101, count=7, at=112)
    story.fire(*range(108, 113), at=112)


def missed_all(story: Story) -> None:
    story.edition(1, 100.5, misfire="all")
    story.edition(2, 112.5, state="removed")
    story.fault("server.kill", 100.6, 111.9)
    story.decide(103, "skipped", "max_catchup", first=101, count=3, at=112)
    story.fire(*range(104, 108), reason="caught_up", at=112)
    story.fire(*range(108, 113), at=112)


def skipping(story: Story) -> None:
    """The job of 101 takes until 102.5."""
    story.edition(1, 100.5, overlap="skip")
    story.edition(2, 103.5, state="removed")
    story.fire(101, takes=1.4)
    story.decide(102, "skipped", "overlap", job_id=tick_id("s", 101_000))
    story.fire(103)


def queueing(story: Story) -> None:
    story.edition(1, 100.5, overlap="queue")
    story.edition(2, 103.5, state="removed")
    story.fire(101, takes=1.4)
    story.decide(102, "waiting", "overlap", job_id=tick_id("s", 101_000))
    story.fire(102, reason="waited", at=102.6)
    story.decide(103, "waiting", "overlap", job_id=tick_id("s", 102_000))
    story.decide(103, "skipped", "ended", version=2, at=103.6)


def by_hand(story: Story) -> None:
    """A skipped tick is backfilled, and a job asked for."""
    skipping(story)
    row = story.decide(102, "backfilled", "asked", at=104)
    story.run(row.job_id, 102, 104.1, 0.1, "mark 1")
    story.decide(104, "run", "asked", job_id="asked for", at=104.5)
    story.run("asked for", 0, 104.6, 0.1, "mark 1")
    story.edit("run", 104.4, 0, jobs=["asked for"])


GOOD: dict[str, Callable[[Story], None]] = {
    each.__name__: each
    for each in (
        once,
        edited,
        paused,
        overtaken,
        missed_once,
        missed_skip,
        missed_all,
        skipping,
        queueing,
        by_hand,
    )
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_rules_allow_breaks_none(name: str) -> None:
    story = Story()
    GOOD[name](story)

    verdict = story.judged()

    assert verdict.ok, verdict.details


def without(tick: float, of: Callable[[Story], None]) -> Callable[[Story], None]:
    """That story, less the records of a tick."""

    def tell(story: Story) -> None:
        of(story)
        gone = {row.job_id for row in story.final.ticks if row.tick_ms == tick * 1000}
        story.final.ticks = [row for row in story.final.ticks if row.tick_ms != tick * 1000]
        story.final.executions = [row for row in story.final.executions if row.id not in gone]
        story.records = [each for each in story.records if getattr(each[1], "id", "") not in gone]

    return tell


def never_fired(story: Story) -> None:
    queueing(story)
    story.final.ticks = [row for row in story.final.ticks if row.reason != "ended"]


def nobody_looked_after_it(story: Story) -> None:
    story.edition(1, 100.5)
    story.fire(101, 102)
    story.final.read_at = 130.0


def fired_twice(story: Story) -> None:
    once(story)
    story.fire(105, at=105.9)


def fired_and_skipped(story: Story) -> None:
    skipping(story)
    story.decide(101, "skipped", "overlap", at=101.5)


def backfilled_though_fired(story: Story) -> None:
    once(story)
    story.decide(105, "backfilled", "asked", at=111)


def waited_twice(story: Story) -> None:
    queueing(story)
    story.decide(102, "waiting", "overlap", at=102.3)


def unknown_version(story: Story) -> None:
    once(story)
    story.final.ticks[-1] = replace(story.final.ticks[-1], version=7)


def while_paused(story: Story) -> None:
    paused(story)
    story.fire(104, version=2)


def before_it_began(story: Story) -> None:
    once(story)
    story.fire(100)


def no_such_tick(story: Story) -> None:
    edited(story)
    story.fire(107, version=2)


def old_version_after_the_edit(story: Story) -> None:
    edited(story)
    story.final.ticks = [replace(row, version=1) if row.tick_ms == 106_000 else row for row in story.final.ticks]


def old_payload(story: Story) -> None:
    edited(story)
    for _, record in story.records:
        if isinstance(record, Ticked) and record.tick_ms == 108_000:
            record.mark = "mark 1"


def skipped_against_the_rule(story: Story) -> None:
    missed_skip(story)
    story.final.editions = [replace(each, misfire="all") for each in story.final.editions]


def overlap_against_the_rule(story: Story) -> None:
    skipping(story)
    story.final.editions = [replace(each, overlap="allow") for each in story.final.editions]


def missed_within_the_grace(story: Story) -> None:
    missed_skip(story)
    story.final.ticks[0] = replace(story.final.ticks[0], at_ms=109_000)


def made_up_by_none(story: Story) -> None:
    missed_once(story)
    story.final.ticks = [
        replace(row, reason="on_time") if row.reason == "caught_up" else row for row in story.final.ticks
    ]


def miscounted(story: Story) -> None:
    missed_skip(story)
    story.final.ticks[0] = replace(story.final.ticks[0], count=5)


def waited_without_waiting(story: Story) -> None:
    queueing(story)
    story.final.ticks = [row for row in story.final.ticks if row.decision != "waiting"]


def too_early(story: Story) -> None:
    once(story)
    story.final.ticks[3] = replace(story.final.ticks[3], at_ms=story.final.ticks[3].tick_ms - 200)


def missed_in_quiet(story: Story) -> None:
    missed_skip(story)
    story.faults.clear()


def missed_with_schedulers_left(story: Story) -> None:
    missed_in_quiet(story)
    story.event("killed", 0, 100)
    story.fault("scheduler.kill", 100, 112)
    story.fault("worker.kill", 100, 112)


def missed_because_postgres_was_away(story: Story) -> None:
    missed_in_quiet(story)
    story.fault("history.stop", 100, 112)


def two_at_once(story: Story) -> None:
    skipping(story)
    story.final.ticks = [row for row in story.final.ticks if row.tick_ms != 102_000]
    story.fire(102)


def edit_forgotten(story: Story) -> None:
    edited(story)
    story.edit("pause", 108.2, 9)


def edit_overwritten(story: Story) -> None:
    edited(story)
    story.final.editions[1] = replace(story.final.editions[1], mark="another")
    for _, record in story.records:
        if isinstance(record, Ticked) and record.mark == "mark 2":
            record.mark = "another"


def job_lost(story: Story) -> None:
    once(story)
    job_id = tick_id("s", 105_000)
    story.final.executions = [row for row in story.final.executions if row.id != job_id]
    story.records = [each for each in story.records if getattr(each[1], "id", "") != job_id]


def job_of_no_tick(story: Story) -> None:
    once(story)
    story.run("from nowhere", 105, 106.0, 0.1, "mark 1")


def written_twice(story: Story) -> None:
    once(story)
    story.final.ticks.append(story.final.ticks[0])


def started_early(story: Story) -> None:
    once(story)
    for _, record in story.records:
        if isinstance(record, Start) and record.id == tick_id("s", 105_000):
            record.at = 104.8


BAD: dict[str, Callable[[Story], None]] = {
    "ticks_missing": without(105, once),
    "ticks_missing (first)": without(101, once),
    "ticks_missing (last)": without(110, once),
    "ticks_missing (of the new version)": without(108, edited),
    "ticks_missing (resumed)": without(107, paused),
    "ticks_missing (of a run)": without(106, missed_once),
    "ticks_missing (waits for ever)": never_fired,
    "ticks_missing (nobody is left)": nobody_looked_after_it,
    "ticks_doubled": fired_twice,
    "ticks_doubled (and skipped)": fired_and_skipped,
    "ticks_doubled (backfilled)": backfilled_though_fired,
    "ticks_doubled (waiting)": waited_twice,
    "ticks_amiss (unknown version)": unknown_version,
    "ticks_amiss (paused)": while_paused,
    "ticks_amiss (before it began)": before_it_began,
    "ticks_amiss (no such tick)": no_such_tick,
    "ticks_amiss (old version)": old_version_after_the_edit,
    "ticks_amiss (old payload)": old_payload,
    "ticks_amiss (misfire)": skipped_against_the_rule,
    "ticks_amiss (overlap)": overlap_against_the_rule,
    "ticks_amiss (within the grace)": missed_within_the_grace,
    "ticks_amiss (made up by none)": made_up_by_none,
    "ticks_amiss (miscounted)": miscounted,
    "ticks_amiss (had not waited)": waited_without_waiting,
    "ticks_early": too_early,
    "ticks_late": missed_in_quiet,
    "ticks_late (schedulers left)": missed_with_schedulers_left,
    "ticks_late (Postgres away)": missed_because_postgres_was_away,
    "ticks_overlapped": two_at_once,
    "edits_lost": edit_forgotten,
    "edits_lost (overwritten)": edit_overwritten,
    "lost": job_lost,
    "unexpected": job_of_no_tick,
    "written_twice": written_twice,
    "early_starts": started_early,
}


@pytest.mark.parametrize("rule", BAD)
def test_a_broken_rule_is_found(rule: str) -> None:
    story = Story()
    BAD[rule](story)

    verdict = story.judged()

    assert verdict.failures[rule.partition(" ")[0]] > 0, verdict.failures
    assert any(line.startswith(rule.partition(" ")[0]) for line in verdict.details)


@pytest.mark.parametrize(
    "rule", ["ticks_missing", "ticks_doubled", "ticks_amiss (old version)", "ticks_overlapped", "unexpected"]
)
def test_what_forgetful_servers_explain_is_measured(rule: str) -> None:
    story = Story()
    BAD[rule](story)
    story.fault("sentinel.failover", 100, 112, loses=True)

    verdict = story.judged(LOSING)

    name = rule.partition(" ")[0]
    assert verdict.failures[name] == 0, verdict.details
    assert verdict.measures[f"{name}_async"] > 0  # type: ignore[operator]


def killed(story: Story) -> None:
    story.event("killed", 1, 109)


def stopped(story: Story) -> None:
    story.event("stopped", 1, 109)


def only_begun(story: Story) -> None:
    """And before it had looked what there is to be fired."""
    killed(story)
    story.scheduler(1, 106, generation=2)


def begun_without_postgres(story: Story) -> None:
    killed(story)
    story.scheduler(1, 95, generation=2)
    story.fault("history.stop", 94, 112)


@pytest.mark.parametrize("other", [killed, stopped, only_begun, begun_without_postgres])
def test_what_no_scheduler_could_have_fired_is_no_fault(other: Callable[[Story], None]) -> None:
    story = Story()
    missed_in_quiet(story)
    story.event("killed", 0, 90)
    other(story)

    verdict = story.judged()

    assert verdict.ok, verdict.details


def test_an_edit_whose_editor_died_excuses_what_was_missed_meanwhile() -> None:
    story = Story()
    missed_in_quiet(story)
    story.edit("resume", 100.4, 1, answer="uncertain")

    assert story.judged().failures["ticks_late"] == 0


def test_what_became_of_ticks_is_counted_and_how_late_they_were() -> None:
    story = Story()
    missed_once(story)
    by_hand(story)
    measures = story.judged().measures

    counted = {name: value for name, value in measures.items() if name.startswith("ticks_") and value}
    assert counted == {
        "ticks_fired": 8,
        "ticks_skipped_made_up": 6,
        "ticks_skipped_overlap": 1,
        "ticks_backfilled": 1,
        "ticks_run": 1,
        "ticks_delay_p50_s": 1.0,
        "ticks_delay_p99_s": 4.0,
        "ticks_delay_max_s": 4.0,
    }


def test_the_same_seed_plans_the_same_edits_and_every_kind_of_them() -> None:
    one, two = (list(itertools.islice(edits("seed", SCHEDULES), 500)) for _ in range(2))

    assert one == two
    assert {each.op for each in one} == {"upsert", "pause", "resume", "remove", "run", "backfill"}
    assert {each.name for each in one} == set(SCHEDULES) == {each.name for each in endings(SCHEDULES)}
    assert {each.name for each in beginnings(SCHEDULES)} == set(RULINGS)


@pytest.mark.parametrize("period_s", [1, 2, 5])
def test_a_period_is_read_back_from_its_expression(period_s: int) -> None:
    assert period_of(expression(period_s)) == period_s


def test_no_other_expression_is_taken_for_one_of_the_plants() -> None:
    with pytest.raises(ValueError, match="0 9"):
        period_of("0 9 * * * *")
