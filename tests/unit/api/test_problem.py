"""Each error is one kind of problem, and tells nothing from inside."""

from datetime import timedelta
from pathlib import Path

import pytest

from jobqueue import errors
from jobqueue.api.problem import KINDS, Refusal, page_of_kinds, refusal_of

ROOT = Path(__file__).parents[3]
INSIDE = "redis://user:hunter2@10.0.0.1:6379 SELECT secret FROM keys"


def all_errors() -> list[type[errors.JobQueueError]]:
    found, todo = [], [errors.JobQueueError]
    while todo:
        each = todo.pop()
        found.append(each)
        todo += each.__subclasses__()
    return [each for each in found if each.__module__ == "jobqueue.errors"]


def made(kind: type[errors.JobQueueError]) -> errors.JobQueueError:
    if kind is errors.IdempotencyConflict:
        return errors.IdempotencyConflict("key", "id-1")
    if kind is errors.TooMany:
        return errors.TooMany(timedelta(seconds=3))
    return kind(INSIDE)


@pytest.mark.parametrize("kind", all_errors(), ids=lambda each: each.__name__)
def test_every_error_of_ours_is_a_problem(kind: type[errors.JobQueueError]) -> None:
    refusal = refusal_of(made(kind))

    in_own_words = {
        *(
            "InvalidJob",
            "InvalidSchedule",
            "ScheduleConflict",
            "ConfigError",
            "IdempotencyConflict",
            "EnqueueUncertain",
        ),
    }
    if kind.__name__ not in in_own_words:
        assert "hunter2" not in refusal.detail
        assert "SELECT" not in refusal.detail
    if kind.__name__ in ("BrokerUnavailable", "RepositoryUnavailable", "Backpressure"):
        assert refusal.kind.status == 503
        assert refusal.headers["Retry-After"] == "1"


@pytest.mark.parametrize("error", [ValueError(INSIDE), KeyError(INSIDE), RuntimeError(INSIDE), OSError(INSIDE)])
def test_an_unexpected_error_tells_nothing(error: Exception) -> None:
    refusal = refusal_of(error)

    assert refusal.kind.status == 500
    assert "hunter2" not in refusal.detail


def test_an_uncertain_enqueue_names_the_job() -> None:
    refusal = refusal_of(errors.EnqueueUncertain("id-1"))

    assert (refusal.kind.slug, refusal.kind.status, refusal.job_id) == ("uncertain", 504, "id-1")


def test_waits_are_whole_seconds_and_at_least_one() -> None:
    short = Refusal("too-many-requests", "", retry_after=timedelta(milliseconds=5))
    long = Refusal("too-many-requests", "", retry_after=timedelta(seconds=1.2))

    assert (short.headers["Retry-After"], long.headers["Retry-After"]) == ("1", "2")


def test_every_kind_says_what_it_means_and_what_to_do() -> None:
    for slug, kind in KINDS.items():
        assert slug == kind.slug
        assert 400 <= kind.status < 600
        assert kind.meaning.endswith(".")
        assert kind.way_out.endswith(".")


def test_the_page_of_the_docs_is_this_table() -> None:
    assert (ROOT / "docs/reference/problems.md").read_text() == page_of_kinds()
