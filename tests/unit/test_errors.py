import importlib
import pickle
from datetime import timedelta

import pytest

from jobqueue import errors
from jobqueue.errors import (
    Backpressure,
    BrokerError,
    BrokerUnavailable,
    ConfigError,
    DeadLetterNotFound,
    Discard,
    DuplicateTask,
    EnqueueUncertain,
    IdempotencyConflict,
    InvalidJob,
    JobQueueError,
    JobSignal,
    JobTimeout,
    LeaseLost,
    MissingExtra,
    RegistryError,
    RepositoryError,
    RepositoryUnavailable,
    RetryLater,
    Snooze,
    UnknownTask,
    require,
)

TREE = [
    (ConfigError, JobQueueError, ValueError),
    (MissingExtra, JobQueueError, ImportError),
    (UnknownTask, RegistryError, LookupError),
    (DuplicateTask, RegistryError, ValueError),
    (InvalidJob, JobQueueError, ValueError),
    (IdempotencyConflict, JobQueueError, Exception),
    (EnqueueUncertain, JobQueueError, Exception),
    (JobTimeout, JobQueueError, TimeoutError),
    (BrokerUnavailable, BrokerError, ConnectionError),
    (Backpressure, BrokerError, Exception),
    (LeaseLost, BrokerError, Exception),
    (RepositoryUnavailable, RepositoryError, ConnectionError),
    (DeadLetterNotFound, RepositoryError, LookupError),
]


@pytest.mark.parametrize(("error", "family", "builtin"), TREE)
def test_an_error_is_caught_by_its_family_and_by_its_builtin_kin(
    error: type[Exception], family: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, family)
    assert issubclass(error, builtin)
    assert issubclass(error, JobQueueError)


@pytest.mark.parametrize("signal", [RetryLater, Snooze, Discard])
def test_a_signal_is_not_swallowed_by_except_job_queue_error(signal: type[JobSignal]) -> None:
    assert issubclass(signal, JobSignal)
    assert not issubclass(signal, JobQueueError)


def test_the_drawn_tree_names_every_error_of_the_module() -> None:
    tree = errors.__doc__ or ""

    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert name in tree


def test_a_conflict_carries_the_key_and_the_job_that_holds_it() -> None:
    error = IdempotencyConflict("order-17", "the-id")

    assert (error.key, error.job_id) == ("order-17", "the-id")
    assert "'order-17'" in str(error)
    assert "use a new key" in str(error)


def test_an_uncertain_enqueue_carries_the_id_and_the_way_out() -> None:
    error = EnqueueUncertain("the-id")

    assert error.job_id == "the-id"
    assert "enqueue the same Job again" in str(error)


@pytest.mark.parametrize("signal", [RetryLater, Snooze])
@pytest.mark.parametrize("after", [5, 5.0, "5s", None, True])
def test_a_bare_number_is_no_delay(signal: type[RetryLater], after: object) -> None:
    with pytest.raises(TypeError, match=rf"{signal.__name__}\(after\) must be a timedelta, got .*timedelta\(seconds"):
        signal(after)  # type: ignore[arg-type]


@pytest.mark.parametrize("signal", [RetryLater, Snooze])
def test_a_delay_is_not_negative(signal: type[RetryLater]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        signal(timedelta(microseconds=-1))


def test_a_signal_says_its_reason_or_its_delay() -> None:
    assert str(RetryLater(timedelta(seconds=5))) == "retry after 0:00:05"
    assert str(Snooze(timedelta(seconds=5), "the shop is closed")) == "the shop is closed"
    assert Discard("nothing to do").reason == "nothing to do"
    assert str(Discard()) == "discarded by its handler"


@pytest.mark.parametrize(
    "error",
    [
        IdempotencyConflict("key", "id"),
        EnqueueUncertain("id"),
        RetryLater(timedelta(seconds=5)),
        RetryLater(timedelta(seconds=5), "later"),
        Snooze(timedelta(seconds=5), "not now"),
        Discard("no more"),
    ],
    ids=repr,
)
def test_an_error_crosses_a_process_pool(error: Exception) -> None:
    """A handler that raised RetryLater inside a process pool broke the pool: the signal could not be unpickled."""
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_a_module_that_is_there_is_imported() -> None:
    assert require("json", "all").__name__ == "json"


@pytest.mark.parametrize("module", ["no_such_module_here", "no_such_package_here.inner", "json.no_such_part"])
def test_a_missing_module_is_answered_with_the_command_that_installs_it(module: str) -> None:
    with pytest.raises(MissingExtra, match=r"python -m pip install 'jobqueue-asyncio\[postgres\]'"):
        require(module, "postgres")


def test_a_module_that_is_there_but_broken_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise ModuleNotFoundError("No module named 'something_else'", name="something_else")

    monkeypatch.setattr(importlib, "import_module", broken)

    with pytest.raises(ModuleNotFoundError, match="something_else") as caught:
        require("asyncpg", "postgres")

    assert not isinstance(caught.value, MissingExtra)
