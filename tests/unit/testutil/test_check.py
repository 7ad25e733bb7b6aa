"""The checker of chaos runs can fail: a hand-written history for every rule, and for what excuses a breach."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.testutil import test_check_ticks
from testutil.chaos.check import check, check_again, judge
from testutil.chaos.evidence import gather
from testutil.chaos.final import Executed, FinalState, Letter
from testutil.chaos.history import (
    Answer,
    Call,
    End,
    Event,
    Fault,
    Logged,
    Record,
    Rejected,
    Settled,
    Start,
    Writer,
    read_logs,
    read_records,
)
from testutil.chaos.mix import plans
from testutil.chaos.sampler import Sample
from testutil.chaos.tasks import HOG_S
from testutil.chaos.verdict import Rules, Verdict

LEASE_S = 3.0
_PIDS = {"W0": 100, "W1": 101, "W2": 102}
QUIET = Rules(weak_ok=True, lease_s=LEASE_S)
LOSING = Rules(weak_ok=True, lease_s=LEASE_S, loses=True)


class Story:
    """What was written down, told in a few words. Worker W0 lives in process worker-0.1, and so on."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Record]] = []
        self.events: list[Event] = []
        self.faults: list[Fault] = []
        self.logs: list[Logged] = []
        self.samples: list[Sample] = []
        self.final = FinalState(counters={"q": {}})
        self._numbers = itertools.count(1)
        for worker in _PIDS:
            self.log(0.0, worker, "worker.joined", worker=worker)

    def judged(self, rules: Rules = QUIET) -> Verdict:
        return judge(
            gather(
                self.final,
                rules,
                records=self.records,
                events=self.events,
                faults=self.faults,
                logs=self.logs,
                samples=self.samples,
            )
        )

    def ask(self, op: str, job: str, at: float, answer: str | None, **options: Any) -> None:
        """A call and, unless *answer* is None, its answer 0.01 s later."""
        number, as_id = next(self._numbers), options.pop("as_id", job)
        self.records.append(("producer-0.1", Call(at=at, n=number, op=op, id=job, queue="q", type="quick", **options)))
        if answer is not None:
            self.records.append(
                ("producer-0.1", Answer(at=at + 0.01, n=number, op=op, id=job, answer=answer, as_id=as_id))
            )

    def enqueue(self, job: str, at: float = 1.0, answer: str | None = "new", **options: Any) -> None:
        self.ask("enqueue", job, at, answer, **options)

    def start(self, job: str, at: float, worker: str = "W0", attempt: int = 1, type: str = "quick") -> None:
        start = Start(at=at, mono=at, id=job, queue="q", type=type, attempt=attempt, worker=worker, pid=_PIDS[worker])
        self.records.append((_file(worker), start))

    def end(self, job: str, at: float, worker: str = "W0", attempt: int = 1, how: str = "returned") -> None:
        end = End(at=at, mono=at, id=job, attempt=attempt, worker=worker, pid=_PIDS[worker], how=how)
        self.records.append((_file(worker), end))

    def row(
        self, job: str, at: float, outcome: str, worker: str = "W0", attempt: int = 1, generation: int = 0, **more: Any
    ) -> None:
        """A row of the history, with its counter."""
        row = Executed(
            id=job, queue="q", generation=generation, attempt=attempt, outcome=outcome, worker=worker,
            started=at, finished=at, **more,
        )  # fmt: skip
        self.final.executions.append(row)
        counters = self.final.counters["q"]
        counters[outcome] = counters.get(outcome, 0) + 1

    def run(
        self, job: str, at: float, outcome: str = "completed", worker: str = "W0", attempt: int = 1, **more: Any
    ) -> None:
        """A whole attempt of 0.1 s: start, end, row."""
        self.start(job, at, worker, attempt)
        self.end(job, at + 0.1, worker, attempt, "returned" if outcome == "completed" else "raised")
        self.row(job, at + 0.1, outcome, worker, attempt, **more)

    def bury(self, job: str, generation: int = 0, entry: str = "1-0") -> None:
        letter = Letter(
            id=job, queue="q", generation=generation, epoch="e", entry_id=entry, state="dead", reason="exhausted"
        )
        self.final.letters.append(letter)

    def confirm(
        self, job: str, at: float, outcome: str, attempt: int = 1, delay_ms: int = 0, generation: int = 0
    ) -> None:
        """The worker saw it settled."""
        settled = Settled(
            at=at, id=job, queue="q", generation=generation, attempt=attempt, outcome=outcome, worker="W0",
            delay_ms=delay_ms,
        )  # fmt: skip
        self.records.append((_file("W0"), settled))

    def event(self, what: str, worker: str, at: float) -> None:
        member = _file(worker).partition(".")[0]
        self.events.append(Event(at=at, what=what, member=member, generation=1, pid=_PIDS[worker]))

    def log(self, at: float, of: str, event: str, **fields: Any) -> None:
        member = _file(of).partition(".")[0]
        self.logs.append(Logged(member=member, generation=1, at=at, event=event, fields=fields))

    def fault(self, kind: str, began: float, ended: float, **more: Any) -> None:
        self.faults.append(Fault(n=len(self.faults), kind=kind, began=began, ended=ended, **more))

    def sample(self, drift: int) -> None:
        counts = dict.fromkeys(Sample.__struct_fields__, 0) | {"at": 1.0, "queue": "q", "drift": drift}
        self.samples.append(Sample(**counts))  # type: ignore[arg-type]


def _file(worker: str) -> str:
    return f"worker-{worker[1:]}.1"


def told(rule: str) -> Verdict:
    story = Story()
    BAD[rule](story)
    return story.judged(Rules(weak_ok=rule != "nemesis_too_weak", lease_s=LEASE_S))


def good(story: Story) -> None:
    """All that may happen in a healthy plant."""
    story.enqueue("plain")
    story.run("plain", 2)
    story.enqueue("flaky")
    story.run("flaky", 2, "retrying")
    story.confirm("flaky", 2.11, "retrying", delay_ms=500)
    story.run("flaky", 2.6, worker="W1", attempt=2)
    story.enqueue("doomed")
    story.run("doomed", 2, "dead")
    story.bury("doomed")
    story.ask("requeue", "doomed", 3, "requeued")
    story.run("doomed", 4, "dead", worker="W1", generation=1)
    story.bury("doomed", generation=1, entry="2-0")
    story.enqueue("delayed", due=5.0)
    story.run("delayed", 5.0)
    story.enqueue("waiting", due=50.0)
    story.ask("cancel", "waiting", 3, "cancelled")
    story.row("waiting", 3, "cancelled", worker="", attempt=0)
    story.enqueue("again")
    story.run("again", 2)
    story.enqueue("again", at=3)
    story.run("again", 4, worker="W1")
    story.enqueue("interrupted")
    story.start("interrupted", 6, "W2")
    story.event("killed", "W2", 7)
    story.row("interrupted", 10.5, "crashed", "W2")
    story.run("interrupted", 10.6, attempt=2)
    story.enqueue("unsure", answer="uncertain")
    story.enqueue("refused", answer="refused")
    story.sample(drift=0)
    story.final.keys = {"{chaos:q}:meta": 9, "{chaos:q}:stream:low": 0, "{chaos:q}:producer:x": 9}
    story.final.ttls = {"{chaos:q}:producer:x": 1000}


def lost(story: Story) -> None:
    story.enqueue("a")


def lost_though_run(story: Story) -> None:
    """Acknowledged before it ran, as a broker would do that settles at once; then its worker died."""
    story.enqueue("a")
    story.start("a", 2)
    story.event("killed", "W0", 2.5)


def requeue_lost(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, "dead")
    story.bury("a")
    story.ask("requeue", "a", 3, "requeued")


def keyed_twice(story: Story) -> None:
    story.enqueue("a", key="k")
    story.run("a", 2)
    story.enqueue("a", at=3, key="k")


def keyed_run_twice(story: Story) -> None:
    """An unknown outcome is no licence to run it again: the key stands for both calls."""
    story.enqueue("a", key="k", answer="uncertain")
    story.run("a", 2)
    story.enqueue("a", at=3, key="k", answer="uncertain")
    story.run("a", 4, worker="W1")


def alive_twice(story: Story) -> None:
    story.enqueue("a")
    story.enqueue("a", at=1.5)
    story.run("a", 2)


def confirmed_to_the_fenced(story: Story) -> None:
    story.enqueue("a")
    story.start("a", 2)
    story.event("stopped", "W0", 2.1)
    story.row("a", 6, "crashed")
    story.run("a", 6.1, worker="W1", attempt=2)
    story.event("continued", "W0", 8)
    story.end("a", 8.1)
    story.confirm("a", 8.2, "completed")


def wrong_end(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, "dead", type="quick", error="ValueError")
    story.bury("a")


def expired_without_reason(story: Story) -> None:
    story.enqueue("a")
    story.row("a", 2, "expired", type="quick")


def stuck(story: Story) -> None:
    story.enqueue("a")
    story.final.live = [("q", "a")]


def not_drained(story: Story) -> None:
    story.final.drained = False


def unexpected(story: Story) -> None:
    story.run("never_enqueued", 1)


def refused_and_run(story: Story) -> None:
    story.enqueue("a", answer="failed")
    story.run("a", 2)


def twice(story: Story) -> None:
    story.enqueue("a")
    story.start("a", 2)
    story.run("a", 3, worker="W1")


def reaped_alive(story: Story) -> None:
    """Its worker was reaped although nothing had happened to it."""
    story.enqueue("a")
    story.start("a", 2)
    story.row("a", 3, "crashed")
    story.run("a", 3.1, worker="W1", attempt=2)


def killed_too_late(story: Story) -> None:
    """The worker's death comes after its job was given away."""
    reaped_alive(story)
    story.event("killed", "W0", 4)


def crash_used_twice(story: Story) -> None:
    """One death explains one start more, not two."""
    story.enqueue("a")
    story.start("a", 2)
    story.event("killed", "W0", 3)
    story.row("a", 6, "crashed")
    story.start("a", 6.1, worker="W1", attempt=2)
    story.run("a", 6.2, worker="W2", attempt=2)


def retry_used_twice(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, "retrying")
    story.start("a", 3, attempt=2)
    story.run("a", 3.1, worker="W1", attempt=2)


def second_attempt_from_nowhere(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, attempt=2)


def double(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2)
    story.event("killed", "W0", 3)
    story.row("a", 4, "completed", worker="W1")


def two_ends(story: Story) -> None:
    """Two lives' ends for one that was created once, in different attempts."""
    story.enqueue("a")
    story.run("a", 2)
    story.run("a", 3, worker="W1", attempt=2)


def stale(story: Story) -> None:
    story.enqueue("a")
    story.start("a", 2)
    story.event("stopped", "W0", 3)
    story.row("a", 6.5, "crashed")
    story.run("a", 7, worker="W1", attempt=2)
    story.event("continued", "W0", 8)
    story.end("a", 8.1)
    story.row("a", 8.1, "completed")


def unrun(story: Story) -> None:
    story.enqueue("a")
    story.start("a", 2)
    story.row("a", 2.1, "completed")


def early(story: Story) -> None:
    story.enqueue("a", due=5.0)
    story.run("a", 4.9)


def early_retry(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, "retrying")
    story.confirm("a", 2.11, "retrying", delay_ms=500)
    story.run("a", 2.5, attempt=2)


def unique(story: Story) -> None:
    story.enqueue("a", unique="key")
    story.enqueue("b", at=1.5, unique="key")
    story.run("a", 2)
    story.run("b", 3)


def cancelled(story: Story) -> None:
    story.enqueue("a")
    story.ask("cancel", "a", 2, "cancelled")
    story.row("a", 2, "cancelled", worker="", attempt=0)
    story.start("a", 3)


def rows_twice(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2)
    story.final.executions.append(story.final.executions[-1])


def letters_twice(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, "dead")
    story.bury("a")
    story.bury("a")


def no_letter(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, "dead")


def miscounted(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2)
    story.final.counters["q"]["completed"] = 2


def unrecorded(story: Story) -> None:
    story.enqueue("a")
    story.run("a", 2, "retrying")
    story.run("a", 3, attempt=2)
    story.confirm("a", 3.2, "completed", attempt=3)


def drift(story: Story) -> None:
    story.sample(drift=1)


def leaked_consumer(story: Story) -> None:
    story.final.leaked_consumers = ["{chaos:q}:stream:low W7 pending 0"]


def connections(story: Story) -> None:
    story.final.connections = 2


def leftover(story: Story) -> None:
    story.final.keys = {"{chaos:q}:unique": 1}


def unknown_key(story: Story) -> None:
    story.final.keys = {"{chaos:q}:hash-of-a-job": 1}


def passing_key_that_stays(story: Story) -> None:
    story.final.keys = {"{chaos:q}:result:a": 100}


def mortal_key(story: Story) -> None:
    story.final.keys, story.final.ttls = {"{chaos:q}:meta": 9}, {"{chaos:q}:meta": 1000}


def slow_recovery(story: Story) -> None:
    story.enqueue("a")
    story.start("a", 2)
    story.event("killed", "W0", 3)
    story.row("a", 20, "crashed")
    story.run("a", 20.1, worker="W1", attempt=2)


def no_amnesty(story: Story) -> None:
    story.fault("server.stop", 10, 15, redis_away=True, target="data-0")
    story.log(15.5, "W1", "worker.reaped", worker="W0", queue="q", jobs=1)
    story.log(15.6, "W0", "lease.lost", worker="W0", error="W0 lost its lease: the reaper took it")


def no_amnesty_for_those_who_gave_up(story: Story) -> None:
    story.fault("server.kill", 10, 14, redis_away=True)
    story.log(12.6, "W0", "lease.lost", worker="W0", error="W0 lost its lease: the broker did not confirm it in time")
    story.log(14.1, "W1", "worker.reaped", worker="W0", queue="q", jobs=1)


def lease_lost(story: Story) -> None:
    story.fault("worker.kill", 10, 12, target="worker-1")
    story.fault("link.stall", 8, 12, target="worker-1")
    story.log(12, "W0", "lease.lost", worker="W0", error="W0 lost its lease: the reaper took it")


def dead_loop(story: Story) -> None:
    story.enqueue("a")
    story.start("a", 2, type="hog")
    story.end("a", 2 + HOG_S)
    story.row("a", 2 + HOG_S, "completed")


def weak(story: Story) -> None:
    good(story)


BAD: dict[str, Callable[[Story], None]] = {
    "lost": lost,
    "lost (run, never settled)": lost_though_run,
    "requeues_lost": requeue_lost,
    "enqueued_twice (key)": keyed_twice,
    "enqueued_twice (alive)": alive_twice,
    "unexplained_duplicates (key)": keyed_run_twice,
    "stale_settlements_accepted (confirmed)": confirmed_to_the_fenced,
    "wrong_ends": wrong_end,
    "wrong_ends (expired)": expired_without_reason,
    "stuck": stuck,
    "stuck (not drained)": not_drained,
    "unexpected": unexpected,
    "unexpected (refused)": refused_and_run,
    "unexplained_duplicates": twice,
    "unexplained_duplicates (reaped alive)": reaped_alive,
    "unexplained_duplicates (died later)": killed_too_late,
    "unexplained_duplicates (one death, two starts)": crash_used_twice,
    "unexplained_duplicates (one retry, two starts)": retry_used_twice,
    "unexplained_duplicates (attempt 2 first)": second_attempt_from_nowhere,
    "double_settlements": double,
    "double_settlements (two ends)": two_ends,
    "stale_settlements_accepted": stale,
    "completed_without_a_run": unrun,
    "early_starts": early,
    "early_starts (retry)": early_retry,
    "unique_violated": unique,
    "cancelled_started": cancelled,
    "written_twice": rows_twice,
    "written_twice (letters)": letters_twice,
    "dead_letters_amiss": no_letter,
    "miscounted": miscounted,
    "unrecorded": unrecorded,
    "drift": drift,
    "leaked_consumers": leaked_consumer,
    "connections": connections,
    "memory": leftover,
    "memory (unknown key)": unknown_key,
    "memory (no time to live)": passing_key_that_stays,
    "memory (time to live)": mortal_key,
    "recovery_late": slow_recovery,
    "reaped_without_amnesty": no_amnesty,
    "reaped_without_amnesty (given up)": no_amnesty_for_those_who_gave_up,
    "leases_lost_without_cause": lease_lost,
    "dead_loops_kept_alive": dead_loop,
    "nemesis_too_weak": weak,
}


def test_a_healthy_plant_breaks_no_rule() -> None:
    story = Story()
    good(story)

    verdict = story.judged()

    assert verdict.ok, verdict.details
    assert verdict.measures["duplicates"] == 1
    assert verdict.measures["repeated_killed"] == 1


@pytest.mark.parametrize("rule", BAD)
def test_a_broken_rule_is_found(rule: str) -> None:
    verdict = told(rule)

    assert not verdict.ok
    assert verdict.failures[rule.partition(" ")[0]] > 0, verdict.failures
    assert any(line.startswith(rule.partition(" ")[0]) for line in verdict.details)


def test_every_rule_has_a_history_that_breaks_it() -> None:
    rules = Story().judged().failures

    assert {rule.partition(" ")[0] for rule in (*BAD, *test_check_ticks.BAD)} == set(rules)


def test_a_worker_that_wakes_up_may_start_once_what_it_had_taken() -> None:
    story = Story()
    story.enqueue("a")
    story.event("stopped", "W0", 2)
    story.row("a", 6, "crashed")
    story.run("a", 6.1, worker="W1", attempt=2)
    story.event("continued", "W0", 8)
    story.start("a", 8.01)

    once = story.judged()
    story.start("a", 8.02)
    twice = story.judged()

    assert once.ok, once.details
    assert once.measures["repeated_started_too_late"] == 1
    assert twice.failures["unexplained_duplicates"] == 1


def test_a_requeue_explains_a_new_life_though_a_worker_that_wakes_up_started_the_old_one_after_it() -> None:
    """It had lost its lease, and told so 0.2 s later; the checker looked for a requeue after its start."""
    story = Story()
    story.enqueue("a")
    story.run("a", 1.5, "retrying")
    story.event("stopped", "W0", 2)
    story.row("a", 6, "crashed", attempt=2)
    story.run("a", 6.1, "dead", worker="W1", attempt=3)
    story.ask("requeue", "a", 7, "requeued")
    story.event("continued", "W0", 8)
    story.start("a", 8.01, attempt=2)
    story.log(8.2, "W0", "lease.lost", worker="W0", error="W0 lost its lease: the reaper took it")
    story.run("a", 8.3, worker="W1", generation=1)

    once = story.judged()
    story.start("a", 8.4, worker="W2")
    twice = story.judged()

    assert once.failures["unexplained_duplicates"] == 0, once.details
    assert twice.failures["unexplained_duplicates"] == 1


def test_a_worker_that_wakes_up_may_have_run_the_same_attempt_in_an_earlier_life_of_the_job() -> None:
    """The two lives were one to the checker: what it had taken in the second was looked on as begun in the first."""
    story = Story()
    story.enqueue("a", at=0.4)
    story.run("a", 0.5)
    story.enqueue("a", at=1.0)
    story.event("stopped", "W0", 1.1)
    story.row("a", 6, "crashed")
    story.run("a", 6.1, worker="W1", attempt=2)
    story.event("continued", "W0", 8)
    story.start("a", 8.01)

    once = story.judged()
    story.start("a", 8.02)

    assert once.failures["unexplained_duplicates"] == 0, once.details


@pytest.mark.parametrize(
    "rule",
    [
        "lost",
        "requeues_lost",
        "unexplained_duplicates",
        "double_settlements",
        "cancelled_started",
        "unique_violated",
        "unrecorded",
        "dead_letters_amiss",
        "miscounted",
    ],
)
def test_what_forgetful_servers_explain_is_measured(rule: str) -> None:
    story = Story()
    BAD[rule](story)
    story.fault("primary.kill", 1.5, 3.5, loses=True, redis_away=True)

    verdict = story.judged(LOSING)

    assert verdict.failures[rule] == 0
    assert verdict.measures["repeated_forgotten" if rule == "unexplained_duplicates" else f"{rule}_async"] == 1


@pytest.mark.parametrize("durability", ["replicated:1", "fsync"])
def test_what_was_enqueued_durably_may_not_be_lost_by_forgetful_servers(durability: str) -> None:
    story = Story()
    story.enqueue("a", durability=durability)
    story.fault("primary.kill", 1.5, 3.5, loses=True, redis_away=True)

    assert story.judged(LOSING).failures["lost"] == 1


def test_a_fault_long_before_excuses_no_loss() -> None:
    story = Story()
    story.enqueue("a", at=100)
    story.fault("primary.kill", 1.5, 3.5, loses=True, redis_away=True)

    assert story.judged(LOSING).failures["lost"] == 1


def test_where_servers_may_not_forget_no_fault_excuses_a_loss() -> None:
    story = Story()
    story.enqueue("a")
    story.fault("server.kill", 1.5, 3.5, loses=True, redis_away=True)

    assert story.judged(QUIET).failures["lost"] == 1


def test_a_line_that_was_not_written_whole_is_left_out(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "worker-0.1.jsonl")
    writer.write(Rejected(at=1, worker="W0", jobs=2))
    writer.close()
    with (tmp_path / "worker-0.1.jsonl").open("ab") as file:
        file.write(b'{"kind":"rejec')

    assert list(read_records(tmp_path)) == [("worker-0.1", Rejected(at=1, worker="W0", jobs=2))]


def test_of_a_log_only_whole_lines_of_json_count(tmp_path: Path) -> None:
    line = '{"event": "worker.left", "worker": "W0", "timestamp": "2026-01-01T00:00:00Z"}'
    (tmp_path / "worker-0.2.log").write_text(f"Traceback (most recent call last):\n{line}\n{line[:9]}")

    (found,) = read_logs(tmp_path)

    assert (found.member, found.generation, found.event, found.fields) == (
        "worker-0", 2, "worker.left", {"worker": "W0"},
    )  # fmt: skip


def test_the_same_seed_plans_the_same_work() -> None:
    def first(seed: str) -> list[object]:
        return list(itertools.islice(plans(seed, ("local", "fsync")), 200))

    assert first("7/producer-0/1") == first("7/producer-0/1")
    assert first("7/producer-0/1") != first("8/producer-0/1")


def test_a_run_can_be_judged_again(tmp_path: Path) -> None:
    final = FinalState(connections=1)

    assert check(tmp_path, final, QUIET) == check_again(tmp_path)


def test_a_refused_settlement_is_counted() -> None:
    story = Story()
    story.records.append((_file("W0"), Rejected(at=8.1, worker="W0", jobs=2)))

    verdict = story.judged(Rules(lease_s=LEASE_S))

    assert verdict.ok, verdict.details
    assert verdict.measures["stale_rejected"] == 1


def test_a_producer_that_died_before_its_answer_may_have_enqueued() -> None:
    story = Story()
    story.enqueue("a", answer=None)
    story.enqueue("b", answer=None)
    story.run("b", 2)

    assert story.judged().ok


def test_recovery_is_measured_from_the_death() -> None:
    story = Story()
    good(story)

    measures = story.judged().measures

    assert measures["recovery_p50_s"] == measures["recovery_max_s"] == 3.5
    assert measures["recovery_bound_s"] == 5.2


def test_a_second_life_in_the_same_worker_is_told_apart() -> None:
    """One life of an id was settled by a worker, another given back in its name: enqueued again, without a key."""
    story = Story()
    story.enqueue("a")
    story.run("a", 2)
    story.confirm("a", 2.2, "completed")
    story.enqueue("a", at=3)
    story.start("a", 4)
    story.event("killed", "W0", 5)
    story.row("a", 8, "crashed")
    story.run("a", 8.1, worker="W1", attempt=2)

    verdict = story.judged()

    assert verdict.ok, verdict.details


def test_a_start_that_was_settled_in_another_life_is_not_early_for_this_one() -> None:
    story = Story()
    early_retry(story)
    assert story.judged().failures["early_starts"] == 1

    story.confirm("a", 2.61, "completed", attempt=2, generation=1)

    assert story.judged().failures["early_starts"] == 0


def test_a_lease_lost_while_the_servers_are_read_is_not_judged() -> None:
    story = Story()
    lease_lost(story)
    story.final.read_at = 11.0

    assert story.judged().ok


def test_a_settlement_explains_no_start_before_it() -> None:
    story = Story()
    story.enqueue("a")
    story.run("a", 2, "retrying")
    story.start("a", 1.9, worker="W1", attempt=2)

    assert story.judged().failures["unexplained_duplicates"] == 2  # neither of the two, out of order


def test_an_outage_extends_the_bound_once_and_not_for_ever() -> None:
    story = Story()
    story.enqueue("a")
    story.start("a", 2)
    story.event("killed", "W0", 3)
    story.fault("server.kill", 4, 9, redis_away=True)
    story.fault("wire.reset", 4, 9)
    story.row("a", 24, "crashed")
    story.run("a", 24.1, worker="W1", attempt=2)

    assert story.judged().failures["recovery_late"] == 1


def test_an_outage_while_a_worker_is_dead_extends_the_bound() -> None:
    story = Story()
    story.enqueue("a")
    story.start("a", 2)
    story.event("killed", "W0", 3)
    story.fault("server.kill", 4, 9, redis_away=True)
    story.row("a", 14, "crashed")
    story.run("a", 14.1, worker="W1", attempt=2)

    verdict = story.judged()

    assert verdict.ok, verdict.details
    assert verdict.measures["recovery_in_faults_max_s"] == 11
