import random
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.errors import Discard, JobTimeout, RetryLater, Snooze, UnknownTask
from jobqueue.job import MAX_DURATION
from jobqueue.outcome import (
    MAX_DEFERRALS,
    MAX_MESSAGE_CHARS,
    MAX_TRACEBACK_CHARS,
    Crashed,
    Dead,
    DeadReason,
    Failure,
    Outcome,
    Retrying,
    Snoozed,
    decide,
    decide_crash,
    decide_unknown,
    storable,
    timed_out,
)
from jobqueue.retry import Jitter, RetryFunction, RetryPolicy

SECOND = timedelta(seconds=1)
STEADY = RetryPolicy(max_retries=3, base=SECOND, jitter="none", give_up_on=(PermissionError,))
PICKY = RetryPolicy(max_retries=3, base=SECOND, jitter="none", retry_on=(ConnectionError,))
LONGEST_MS = MAX_DURATION // timedelta(milliseconds=1)


def decided(
    error: BaseException,
    failures: int = 0,
    policy: RetryPolicy | RetryFunction = STEADY,
    max_retries: int | None = None,
) -> Outcome:
    return decide(error, failures=failures, policy=policy, max_retries=max_retries, rng=random.Random(17))


def in_short(outcome: Outcome) -> object:
    match outcome:
        case Retrying(delay_ms=delay) | Snoozed(delay_ms=delay):
            return type(outcome).__name__, delay
        case Dead(reason=reason):
            return reason
    raise AssertionError(outcome)


def after_five(failures: int, error: BaseException) -> timedelta:
    return timedelta(seconds=5)


def by_count(failures: int, error: BaseException) -> timedelta | None:
    return failures * SECOND if failures <= 2 else None


TABLE: list[tuple[str, BaseException, dict[str, Any], object]] = [
    ("the first failure is retried after the base", ValueError(), {}, ("Retrying", 1000)),
    ("the third failure waits longer", ValueError(), {"failures": 2}, ("Retrying", 4000)),
    ("no retries are left", ValueError(), {"failures": 3}, DeadReason.EXHAUSTED),
    ("more failures than allowed", ValueError(), {"failures": 30}, DeadReason.EXHAUSTED),
    ("the job allows none", ValueError(), {"max_retries": 0}, DeadReason.EXHAUSTED),
    ("the job allows more", ValueError(), {"failures": 3, "max_retries": 4}, ("Retrying", 8000)),
    ("the job allows fewer", ValueError(), {"failures": 1, "max_retries": 1}, DeadReason.EXHAUSTED),
    ("an error to give up on", PermissionError(), {}, DeadReason.GIVEN_UP),
    ("giving up is no matter of numbers", PermissionError(), {"max_retries": 9}, DeadReason.GIVEN_UP),
    ("giving up is told even when exhausted", PermissionError(), {"failures": 3}, DeadReason.GIVEN_UP),
    ("an error worth a retry", ConnectionError(), {"policy": PICKY}, ("Retrying", 1000)),
    ("an error not worth one", ValueError(), {"policy": PICKY}, DeadReason.GIVEN_UP),
    ("a timeout is a failure as any", JobTimeout(), {}, ("Retrying", 1000)),
    ("a handler may say when", RetryLater(7 * SECOND), {}, ("Retrying", 7000)),
    ("saying when passes the rules by exception", RetryLater(7 * SECOND), {"policy": PICKY}, ("Retrying", 7000)),
    ("saying when counts as a failure", RetryLater(7 * SECOND), {"failures": 3}, DeadReason.EXHAUSTED),
    ("at once is a time, too", RetryLater(timedelta(0)), {}, ("Retrying", 0)),
    ("for ever is not", RetryLater(timedelta.max), {}, ("Retrying", LONGEST_MS)),
    ("a snooze is no failure", Snooze(9 * SECOND), {"failures": 3}, ("Snoozed", 9000)),
    ("a snooze ends some day", Snooze(timedelta.max), {}, ("Snoozed", LONGEST_MS)),
    ("a discard is the end", Discard(), {}, DeadReason.DISCARDED),
    ("a function says when", ValueError(), {"policy": after_five}, ("Retrying", 5000)),
    ("a function gets the number of failures", ValueError(), {"policy": by_count, "failures": 1}, ("Retrying", 2000)),
    ("a function gives up", ValueError(), {"policy": by_count, "failures": 2}, DeadReason.GIVEN_UP),
    ("a function is not asked for ever", ValueError(), {"policy": after_five, "failures": 99}, ("Retrying", 5000)),
    (
        "the job's number bounds a function",
        ValueError(),
        {"policy": after_five, "failures": 2, "max_retries": 2},
        DeadReason.EXHAUSTED,
    ),
    (
        "a handler is asked before the function",
        RetryLater(7 * SECOND),
        {"policy": by_count, "failures": 9},
        ("Retrying", 7000),
    ),
    (
        "but not beyond the job's number",
        RetryLater(7 * SECOND),
        {"policy": by_count, "failures": 9, "max_retries": 9},
        DeadReason.EXHAUSTED,
    ),
    ("a snooze asks no function", Snooze(9 * SECOND), {"policy": by_count, "failures": 9}, ("Snoozed", 9000)),
    ("a discard asks no function", Discard(), {"policy": after_five}, DeadReason.DISCARDED),
    ("a negative delay is at once", ValueError(), {"policy": lambda *_: -SECOND}, ("Retrying", 0)),
    ("an endless delay ends", ValueError(), {"policy": lambda *_: timedelta.max}, ("Retrying", LONGEST_MS)),
    ("a function that breaks gives up", ValueError(), {"policy": lambda *_: 1 / 0}, DeadReason.GIVEN_UP),
    ("a function must return a timedelta", ValueError(), {"policy": lambda *_: 5}, DeadReason.GIVEN_UP),
]


@pytest.mark.parametrize(("error", "given", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_comes_of_an_error(error: BaseException, given: dict[str, Any], expected: object) -> None:
    assert in_short(decided(error, **given)) == expected


def test_a_retry_and_a_dead_letter_keep_the_error() -> None:
    for failures in (0, 3):
        outcome = decided(ValueError("no luck"), failures)

        assert isinstance(outcome, Retrying | Dead)
        assert (outcome.failure.error_class, outcome.failure.message) == ("ValueError", "no luck")


def test_a_snooze_keeps_its_reason() -> None:
    assert decided(Snooze(SECOND, "closed\0" + "x" * 500)) == Snoozed(1000, "closed\\x00" + "x" * 190)


def test_a_discard_keeps_its_reason() -> None:
    outcome = decided(Discard("no such user"))

    assert isinstance(outcome, Dead)
    assert (outcome.failure.error_class, outcome.failure.message) == ("Discard", "no such user")


def test_a_broken_retry_function_is_told_together_with_the_handlers_own_error() -> None:
    """A function that returned a number raised a TypeError out of decide, and the handler's error was lost."""

    def number(failures: int, error: BaseException) -> Any:
        return 5

    outcome = decided(KeyError("the handler's"), policy=number)

    assert isinstance(outcome, Dead)
    assert outcome.failure.message == "a retry function must return a timedelta or None, got 5"
    assert "the handler's" in outcome.failure.traceback


def test_a_retry_function_may_raise_the_error_it_was_given() -> None:
    def again(failures: int, error: BaseException) -> timedelta:
        raise error

    outcome = decided(KeyError("the handler's"), policy=again)

    assert isinstance(outcome, Dead)
    assert outcome.failure.error_class == "KeyError"


class Sour(KeyError): ...


errors = st.sampled_from([ValueError(), PermissionError(), ConnectionError(), Sour(), JobTimeout(), RetryLater(SECOND)])


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    base, longest = sorted(draw(st.timedeltas(timedelta(0), timedelta(days=365))) for _ in range(2))
    jitter: Jitter = draw(st.sampled_from(get_args(Jitter)))
    return RetryPolicy(max_retries=draw(st.integers(0, 1000)), base=base, max_delay=longest, jitter=jitter)


@given(errors, policies(), st.integers(0, 2000), st.none() | st.integers(0, 1000), st.randoms(use_true_random=False))
def test_a_job_is_never_retried_beyond_what_is_allowed(
    error: Exception, policy: RetryPolicy, failures: int, max_retries: int | None, rng: random.Random
) -> None:
    allowed = policy.max_retries if max_retries is None else max_retries

    outcome = decide(error, failures=failures, policy=policy, max_retries=max_retries, rng=rng)

    assert isinstance(outcome, Dead) == (failures >= allowed)
    if isinstance(outcome, Retrying) and not isinstance(error, RetryLater):
        assert 0 <= outcome.delay_ms <= policy.max_delay / timedelta(milliseconds=1) + 0.5


@given(st.timedeltas(min_value=timedelta(0)), st.sampled_from([RetryLater, Snooze]))
def test_what_a_handler_asks_for_is_kept_within_bounds(after: timedelta, signal: type[RetryLater]) -> None:
    outcome = decided(signal(after))

    assert isinstance(outcome, Retrying | Snoozed)
    assert outcome.delay_ms == pytest.approx(min(after, MAX_DURATION) / timedelta(milliseconds=1), abs=0.5)


@given(st.timedeltas(), st.integers(0, 10_000))
def test_what_a_function_asks_for_is_kept_within_bounds(delay: timedelta, failures: int) -> None:
    outcome = decided(ValueError(), failures, policy=lambda *_: delay)

    assert isinstance(outcome, Retrying)
    assert 0 <= outcome.delay_ms <= LONGEST_MS


# Unknown tasks and crashes


@pytest.mark.parametrize(
    ("deferrals", "delay_ms"),
    [(0, 5_000), (1, 10_000), (2, 20_000), (5, 160_000), (6, 300_000), (MAX_DEFERRALS - 1, 300_000)],
)
def test_an_unknown_task_waits_for_a_worker_that_knows_it(deferrals: int, delay_ms: int) -> None:
    error = UnknownTask("no task named 'email.snd'")

    assert decide_unknown(error, deferrals=deferrals) == Snoozed(delay_ms, "no task named 'email.snd'", deferral=True)


@pytest.mark.parametrize("deferrals", [MAX_DEFERRALS, MAX_DEFERRALS + 1, 10**6])
def test_a_task_that_nobody_knows_is_dead_at_last(deferrals: int) -> None:
    outcome = decide_unknown(UnknownTask("no task named 'email.snd'"), deferrals=deferrals)

    assert isinstance(outcome, Dead)
    assert outcome.reason is DeadReason.UNKNOWN_TASK
    assert outcome.failure.error_class == "UnknownTask"


def test_an_unknown_task_waits_for_the_length_of_a_deploy() -> None:
    waits = [decide_unknown(UnknownTask(), deferrals=deferrals) for deferrals in range(MAX_DEFERRALS)]

    assert sum(wait.delay_ms for wait in waits if isinstance(wait, Snoozed)) > 30 * 60_000


@pytest.mark.parametrize(
    ("crashes", "max_crashes", "final"), [(0, 3, False), (1, 3, False), (2, 3, True), (3, 3, True), (0, 1, True)]
)
def test_a_job_that_kills_its_workers_is_dead_after_so_many(crashes: int, max_crashes: int, final: bool) -> None:
    message = f"worker w-1 died while it held this job (death {crashes + 1} of {max_crashes})"

    assert decide_crash("w-1", crashes=crashes, max_crashes=max_crashes) == Crashed(
        Failure("WorkerDied", message), final=final
    )


# Failures


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even a message")


class NoText(Exception):
    def __str__(self) -> str:
        return 17  # type: ignore[return-value]


def raised(make: Callable[[], BaseException]) -> BaseException:
    try:
        raise make()
    except BaseException as error:
        return error


def recursion() -> BaseException:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        return error
    raise AssertionError


def long_chain() -> BaseException:
    error: BaseException = ValueError("root")
    for number in range(5000):
        following = ValueError(f"link {number}")
        following.__cause__ = error
        error = following
    return error


def deep_group() -> BaseException:
    error: Exception = ValueError("leaf")
    for number in range(5000):
        error = ExceptionGroup(f"level {number}", [error])
    return error


def ring() -> BaseException:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


def noted() -> BaseException:
    error = ValueError("noted")
    error.__notes__ = 17  # type: ignore[assignment]
    return error


NASTY: dict[str, Callable[[], BaseException]] = {
    "broken str": Broken,
    "str that is no text": NoText,
    "nul": lambda: ValueError("a\0b"),
    "surrogates": lambda: ValueError("a\ud800b\udfff"),
    "huge": lambda: ValueError("x" * 5_000_000),
    "huge and hostile": lambda: ValueError("\0\ud800" * 1_000_000),
    "group": lambda: ExceptionGroup("several", [ValueError("first"), TypeError("second")]),
    "group of broken ones": lambda: ExceptionGroup("several", [Broken(), NoText()]),
    "wide group": lambda: ExceptionGroup("many", [ValueError(str(number)) for number in range(5000)]),
    "deep group": deep_group,
    "recursion": recursion,
    "long chain": long_chain,
    "ring": ring,
    "strange notes": noted,
    "syntax error": lambda: SyntaxError("bad", ("f.py", None, None, None)),
    "unicode error": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "key error": lambda: KeyError("\ud800"),
    "no arguments": lambda: ValueError(),
    "exit": lambda: SystemExit(3),
    "long class name": lambda: type("E" * 1000, (Exception,), {})("m"),
    "strange class name": lambda: type("E\ud800\0", (Exception,), {})("m"),
}


@pytest.mark.parametrize("make", NASTY.values(), ids=NASTY.keys())
def test_every_error_can_be_described_and_stored(make: Callable[[], BaseException]) -> None:
    failure = Failure.of(raised(make))

    for text, limit in (
        (failure.error_class, 200),
        (failure.message, MAX_MESSAGE_CHARS),
        (failure.traceback, MAX_TRACEBACK_CHARS),
    ):
        assert len(text) <= limit
        assert "\0" not in text
        text.encode("utf-8")
    assert failure.error_class
    assert failure.traceback


def test_an_error_is_described_by_class_message_and_traceback() -> None:
    failure = Failure.of(raised(lambda: ValueError("no luck")))

    assert (failure.error_class, failure.message) == ("ValueError", "no luck")
    assert failure.traceback.startswith("Traceback (most recent call last):")
    assert "in raised" in failure.traceback
    assert failure.traceback.rstrip().endswith("ValueError: no luck")


def test_an_error_whose_message_breaks_says_so() -> None:
    assert Failure.of(Broken()).message == "(its message cannot be shown: RuntimeError)"
    assert Failure.of(NoText()).message == "(its message cannot be shown: TypeError)"


def test_an_error_that_was_never_raised_can_be_described() -> None:
    assert Failure.of(ValueError("no luck")).traceback == "ValueError: no luck\n"


def test_a_group_tells_its_errors() -> None:
    failure = Failure.of(ExceptionGroup("several", [ValueError("first"), TypeError("second")]))

    assert failure.error_class == "ExceptionGroup"
    assert "ValueError: first" in failure.traceback
    assert "TypeError: second" in failure.traceback


def test_a_cause_is_told() -> None:
    error = raised(lambda: ValueError("outer"))
    error.__cause__ = raised(lambda: KeyError("inner"))

    assert "KeyError: 'inner'" in Failure.of(error).traceback


def test_a_deep_stack_is_told_by_its_innermost_frames() -> None:
    told = Failure.of(recursion()).traceback

    assert "in deeper" in told
    assert len(told) <= MAX_TRACEBACK_CHARS


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_becomes_storable_and_plain_text_stays(text: str) -> None:
    stored = storable(text)

    stored.encode("utf-8")
    assert "\0" not in stored
    if "\0" not in text and text.isascii():
        assert stored == text
    assert storable(stored) == stored


def test_what_cannot_be_stored_is_shown_escaped() -> None:
    assert storable("a\0b\ud800c€") == "a\\x00b\\ud800c€"


def test_a_timeout_names_its_seconds() -> None:
    error = timed_out(0.5)

    assert isinstance(error, TimeoutError)
    assert str(error) == "the handler did not end within its timeout of 0.5 s"


def test_an_error_whose_traceback_breaks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def deeper(*_: object, **__: object) -> list[str]:
        raise RecursionError

    monkeypatch.setattr(traceback, "format_exception", deeper)

    assert Failure.of(ValueError("no luck")) == Failure(
        "ValueError", "no luck", "(its traceback cannot be shown: RecursionError)"
    )


def test_describing_leaves_the_recursion_limit_alone() -> None:
    before = sys.getrecursionlimit()

    Failure.of(deep_group())

    assert sys.getrecursionlimit() == before


def test_an_error_whose_text_ends_the_process_is_described_all_the_same() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise SystemExit(9)

    assert Failure.of(Hostile()).error_class.endswith("Hostile")
