import asyncio
import functools
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from jobqueue.context import JobContext, current_job, enter
from jobqueue.errors import DuplicateTask, InvalidJob, RegistryError, UnknownTask
from jobqueue.job import Priority
from jobqueue.middleware.base import CallNext
from jobqueue.registry import Registry, Task
from jobqueue.retry import RetryPolicy
from jobqueue.worker.threads import Threads


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


class Address(BaseModel):
    email: str


class Later:
    """Used in annotations that are strings."""


@pytest.fixture
def registry() -> Registry:
    return Registry()


def context(payload_json: bytes = b"{}") -> JobContext:
    return JobContext(
        lambda: pytest.fail("nobody asked for the job"),
        job_id="01890a5d-ac96-774b-bcce-b302099a8057",
        type="t",
        queue="default",
        attempt=1,
        deadline_ms=0,
        payload_json=payload_json,
    )


async def run(registry: Registry, name: str, payload_json: bytes = b"{}") -> object:
    """Run a handler inside its middleware, as a worker would."""
    threads = Threads("test")
    try:
        return await registry.chain(registry.get(name), threads)(context(payload_json))
    finally:
        threads.shutdown()


def refusal(task: Task[..., Any], payload_json: bytes) -> InvalidJob:
    with pytest.raises(InvalidJob) as caught:
        task.bind(context(), payload_json)
    return caught.value


def test_positional_and_named_arguments_end_in_one_object_of_names(registry: Registry) -> None:
    @registry.task("t")
    def handler(to: str, subject: str = "hello", *, urgent: bool = False) -> None: ...

    job = handler.job("ada@example.org", urgent=True)

    assert job.payload == {"to": "ada@example.org", "urgent": True}
    assert handler.bind(context(), job.payload_json) == {"to": "ada@example.org", "urgent": True}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 7),
        (bytes, b"\xff\x00 not utf-8"),
        (datetime, datetime(2026, 1, 2, 3, tzinfo=UTC)),
        (timedelta, timedelta(days=1, microseconds=5)),
        (Decimal, Decimal("0.10")),
        (UUID, UUID("01890a5d-ac96-774b-bcce-b302099a8057")),
        (Colour, Colour.RED),
        (Point, Point(1, 2)),
        (list[Point], [Point(1), Point(2)]),
        (Address, Address(email="a@b")),
        (set[int], {1, 2}),
        (dict[str, Any], {"a": [1, None, {"b": 2.5}]}),
        (int | None, None),
    ],
)
def test_a_value_comes_to_the_handler_as_it_was_given(registry: Registry, annotation: Any, value: object) -> None:
    def handler(value: object) -> None: ...

    handler.__annotations__["value"] = annotation
    task = registry.task("t")(handler)

    assert task.bind(context(), task.job(value).payload_json) == {"value": value}


def test_a_wrong_argument_is_refused_when_the_job_is_made(registry: Registry) -> None:
    @registry.task("email.send")
    def handler(to: str, copies: int = 1) -> None: ...

    send: Any = handler
    with pytest.raises(InvalidJob, match=r"copies: Input should be a valid integer.*\(got str\)"):
        send.job(to="a", copies="many")
    with pytest.raises(InvalidJob, match="missing a required argument: 'to'; it takes"):
        send.job()
    with pytest.raises(InvalidJob, match="unexpected keyword argument 'cc'"):
        send.job(to="a", cc="b")


def test_a_wrong_payload_is_refused_when_the_job_is_run(registry: Registry) -> None:
    @registry.task("email.send")
    def handler(to: str) -> None: ...

    assert "to: Field required" in str(refusal(handler, b"{}"))
    assert "cc: Extra inputs are not permitted" in str(refusal(handler, b'{"to":"a","cc":"b"}'))
    assert "arguments: " in str(refusal(handler, b"[1]"))
    assert "email.send" in str(refusal(handler, b"{"))


def test_no_error_tells_a_value_which_may_be_a_secret(registry: Registry) -> None:
    @registry.task("t")
    def handler(pin: int, card: Address | None = None) -> None: ...

    secret: Any = "hunter" + "2"  # not as it stands in the source, which a traceback shows
    at_run = refusal(handler, f'{{"pin":"{secret}","card":{{"email":["{secret}"]}}}}'.encode())
    with pytest.raises(InvalidJob) as caught:
        handler.job(pin=secret)

    for error in (at_run, caught.value):
        assert secret not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_what_json_cannot_say_is_refused(registry: Registry, value: object) -> None:
    @registry.task("t")
    def handler(value: Any) -> None: ...

    with pytest.raises(InvalidJob, match="NaN or an infinity"):
        handler.job(value)


def test_a_value_without_a_json_form_is_refused(registry: Registry) -> None:
    @registry.task("t")
    def handler(value: Any) -> None: ...

    with pytest.raises(InvalidJob, match="no JSON form"):
        handler.job(object())


def test_a_text_that_reads_nan_is_no_infinity(registry: Registry) -> None:
    @registry.task("t")
    def handler(value: str) -> None: ...

    assert handler.job("NaN, Infinity").payload == {"value": "NaN, Infinity"}


def test_arguments_beyond_the_limit_are_refused(registry: Registry) -> None:
    @registry.task("t")
    def handler(value: str) -> None: ...

    with pytest.raises(InvalidJob, match="the limit is"):
        handler.job("x" * 300_000)


def test_free_keyword_arguments_travel_beside_the_named_ones(registry: Registry) -> None:
    @registry.task("t")
    def handler(n: int, **options: Any) -> None: ...

    job = handler.job(1, colour="red", options=2)

    assert job.payload == {"n": 1, "colour": "red", "options": 2}
    assert handler.bind(context(), job.payload_json) == {"n": 1, "colour": "red", "options": 2}


def test_a_second_handler_of_a_name_is_refused_with_both_places(registry: Registry) -> None:
    @registry.task("t")
    def first() -> None: ...

    with pytest.raises(DuplicateTask, match=r"'t' is registered twice: by .*first.*test_registry.* and by .*second"):

        @registry.task("t")
        def second() -> None: ...

    assert registry.get("t") is first


@pytest.mark.parametrize("name", ["", "with blank", "a/b", "x" * 65])
def test_a_name_unfit_for_keys_is_refused_at_once(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidJob, match="task name"):
        registry.task(name)


def test_a_decorator_without_its_parentheses_is_refused(registry: Registry) -> None:
    decorate: Any = registry.task

    with pytest.raises(InvalidJob, match="task name"):

        @decorate
        def handler() -> None: ...


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"queue": "a b"}, InvalidJob),
        ({"priority": "urgent"}, InvalidJob),
        ({"max_retries": -1}, InvalidJob),
        ({"result_ttl": timedelta(0)}, InvalidJob),
        ({"result_ttl": 5}, TypeError),
        ({"timeout": timedelta(0)}, TypeError),
        ({"timeout": 5}, TypeError),
        ({"retry": 3}, TypeError),
    ],
)
def test_a_wrong_option_is_refused_at_registration(
    registry: Registry, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        registry.task("t", **options)(lambda: None)


def test_a_job_carries_the_options_of_its_task(registry: Registry) -> None:
    @registry.task("t", queue="mail", priority=9, result_ttl=timedelta(hours=1))
    def handler() -> None: ...

    job = handler.job()

    assert (job.type, job.queue, job.priority) == ("t", "mail", Priority.CRITICAL)
    assert job.result_ttl == timedelta(hours=1)
    assert job.timeout is None


def test_an_unknown_task_is_refused_with_the_closest_name(registry: Registry) -> None:
    registry.task("email.send")(lambda: None)
    registry.task("report.build")(lambda: None)

    with pytest.raises(UnknownTask) as caught:
        registry.get("email.snd")

    assert str(caught.value) == (
        "no task named 'email.snd' (registered: 'email.send', 'report.build'); did you mean 'email.send'?"
    )


def test_a_registry_counts_and_lists_its_tasks(registry: Registry) -> None:
    registry.task("a")(lambda: None)
    registry.task("b")(lambda: None)

    assert [task.name for task in registry] == ["a", "b"]
    assert len(registry) == 2
    assert "a" in registry
    assert "c" not in registry


def test_the_schema_of_a_task_names_its_arguments(registry: Registry) -> None:
    @registry.task("t")
    def handler(ctx: JobContext, to: str, copies: int = 1) -> None: ...

    schema = handler.schema()

    assert list(schema["properties"]) == ["to", "copies"]
    assert schema["required"] == ["to"]


async def test_the_context_is_passed_by_its_annotation_and_is_no_argument(registry: Registry) -> None:
    @registry.task("t")
    async def handler(ctx: JobContext, n: int) -> tuple[str, int]:
        return ctx.type, n

    assert handler.job(5).payload == {"n": 5}
    assert await run(registry, "t", b'{"n":5}') == ("t", 5)


async def test_a_payload_cannot_pass_a_context(registry: Registry) -> None:
    @registry.task("t")
    async def handler(ctx: JobContext, **rest: Any) -> object:
        return ctx

    assert isinstance(await run(registry, "t", b'{"ctx":"forged"}'), JobContext)


def test_a_task_is_called_as_the_plain_function_that_it_is(registry: Registry) -> None:
    @registry.task("t")
    def double(n: int) -> int:
        """Twice."""
        return 2 * n

    assert double(4) == 8
    assert double(n=4) == 8
    assert (double.__name__, double.__doc__) == ("double", "Twice.")
    assert "double" in repr(double)


async def test_a_task_called_inside_a_job_passes_the_current_context(registry: Registry) -> None:
    @registry.task("t")
    def handler(ctx: JobContext, n: int, **rest: int) -> tuple[str, int, dict[str, int]]:
        return ctx.job_id, n, rest

    here = context()

    async def inside() -> object:
        enter(here)
        return handler(5, more=6)

    assert await asyncio.create_task(inside()) == (here.job_id, 5, {"more": 6})
    assert handler(here, 5)[:2] == (here.job_id, 5)  # type: ignore[arg-type,call-arg]
    with pytest.raises(LookupError):
        handler(5)


async def test_a_plain_function_runs_in_a_thread_with_its_context(registry: Registry) -> None:
    import threading

    @registry.task("t")
    def handler() -> tuple[bool, str]:
        return threading.current_thread() is threading.main_thread(), current_job().type

    async def work() -> object:
        here = context()
        enter(here)
        threads = Threads("test")
        return await registry.chain(handler, threads)(here)

    assert await asyncio.create_task(work()) == (False, "t")


async def test_a_plain_function_that_raises_stop_iteration_fails_and_does_not_hang(registry: Registry) -> None:
    """A future cannot hold one: in Python 3.11 the job waited for its timeout."""

    @registry.task("t")
    def handler() -> None:
        next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(run(registry, "t"), 30)


async def test_a_plain_function_that_raises_a_cancellation_fails_and_does_not_hang(registry: Registry) -> None:
    """It was taken for a cancellation from outside, and waited for in a loop that never yielded."""

    @registry.task("t")
    def handler() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run(registry, "t"), 30)


async def test_a_decorated_coroutine_function_is_awaited(registry: Registry) -> None:
    """The wrapper is a plain function: its coroutine was thrown away, and the job counted as done."""

    async def handler(n: int) -> int:
        return n + 1

    @functools.wraps(handler)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return handler(*args, **kwargs)

    registry.task("t")(wrapper)

    assert await run(registry, "t", b'{"n":1}') == 2


async def test_a_partial_is_a_handler_with_what_it_binds_left_out(registry: Registry) -> None:
    async def handler(kind: str, n: int, loud: bool = False) -> tuple[str, int, bool]:
        return kind, n, loud

    task = registry.task("t")(functools.partial(handler, "k", loud=True))

    assert task.is_async
    assert task.job(n=1).payload == {"n": 1}
    assert await run(registry, "t", b'{"n":1}') == ("k", 1, True)
    with pytest.raises(InvalidJob):
        task.check(b'{"n":"x"}')


class Sender:
    """A callable object whose attributes have the names of a task's."""

    def __init__(self) -> None:
        self.job = self.bind = "mine"

    async def __call__(self, ctx: JobContext, n: int) -> tuple[str, int]:
        return self.job, n

    def send(self, n: int) -> tuple[str, int]:
        return self.job, n


async def test_an_object_with_a_call_is_a_handler(registry: Registry) -> None:
    task = registry.task("t")(Sender())

    assert task.is_async
    assert task.job(n=1).payload == {"n": 1}
    assert await run(registry, "t", b'{"n":1}') == ("mine", 1)


async def test_a_bound_method_is_a_handler(registry: Registry) -> None:
    task = registry.task("t")(Sender().send)

    assert task.job(2).payload == {"n": 2}
    assert await run(registry, "t", b'{"n":2}') == ("mine", 2)


def test_annotations_that_are_strings_are_resolved_at_registration(registry: Registry) -> None:
    def handler(ctx: "JobContext", point: "Point") -> "Later": ...  # type: ignore[empty-body]

    task = registry.task("t")(handler)

    assert task.bind(context(), b'{"point":{"x":1}}')["point"] == Point(1)


@pytest.mark.parametrize("annotation", ["Missing", "asyncio.Missing", "not python", "1 | 'x'"])
def test_an_annotation_that_cannot_be_resolved_is_refused(registry: Registry, annotation: str) -> None:
    def handler(n: object) -> None: ...

    handler.__annotations__["n"] = annotation

    with pytest.raises(RegistryError, match="cannot be resolved"):
        registry.task("t")(handler)


def test_a_parameter_without_a_name_to_pass_it_by_is_refused(registry: Registry) -> None:
    def positional(n: int, /) -> None: ...
    def several(*numbers: int) -> None: ...

    for handler in (positional, several):
        with pytest.raises(RegistryError, match="has no name to be passed by"):
            registry.task("t")(handler)


def test_a_type_that_cannot_be_validated_is_refused(registry: Registry) -> None:
    def handler(value: Later) -> None: ...

    with pytest.raises(RegistryError, match="its arguments cannot be validated"):
        registry.task("t")(handler)


def test_a_generator_is_refused_because_calling_it_runs_nothing(registry: Registry) -> None:
    def plain() -> Any:
        yield 1

    async def with_async() -> Any:
        yield 1

    for handler in (plain, with_async):
        with pytest.raises(RegistryError, match="generator"):
            registry.task("t")(handler)


def noting(name: str, notes: list[str]) -> Any:
    async def middleware(ctx: JobContext, call_next: CallNext) -> object:
        notes.append(name)
        return await call_next(ctx)

    return middleware


async def test_middleware_wraps_from_the_including_registry_inwards(registry: Registry) -> None:
    notes: list[str] = []
    inner, innermost = Registry(), Registry()

    @innermost.task("t")
    async def handler() -> None:
        notes.append("handler")

    innermost.use(noting("innermost", notes))
    inner.include(innermost)
    registry.include(inner)
    registry.use(noting("outer 1", notes))
    registry.use(noting("outer 2", notes))
    inner.use(noting("inner", notes))

    await run(registry, "t")

    assert notes == ["outer 1", "outer 2", "inner", "innermost", "handler"]


async def test_an_included_registry_keeps_its_middleware_to_its_own_tasks(registry: Registry) -> None:
    notes: list[str] = []
    other = Registry()
    other.use(noting("other", notes))
    other.task("theirs")(lambda: None)
    registry.task("ours")(lambda: None)
    registry.include(other)

    await run(registry, "ours")
    assert notes == []

    await run(registry, "theirs")
    assert notes == ["other"]


def test_an_include_with_a_name_that_is_taken_takes_over_nothing(registry: Registry) -> None:
    other = Registry()
    other.task("fresh")(lambda: None)
    other.task("taken")(lambda: None)
    registry.task("taken")(lambda: None)

    with pytest.raises(DuplicateTask):
        registry.include(other)

    assert [task.name for task in registry] == ["taken"]


def test_a_registry_cannot_include_itself(registry: Registry) -> None:
    with pytest.raises(RegistryError):
        registry.include(registry)


def test_a_task_without_a_retry_policy_has_the_default_one(registry: Registry) -> None:
    def retry(failures: int, error: BaseException) -> None: ...

    assert registry.task("a")(lambda: None).options.retry == RetryPolicy()
    assert registry.task("b", retry=retry)(lambda: None).options.retry is retry


def test_a_number_that_could_not_be_read_back_is_refused(registry: Registry) -> None:
    @registry.task("count")
    def count(n: int) -> None: ...

    with pytest.raises(InvalidJob, match="too large"):
        count.job(n=10**5000)


async def test_a_parameter_may_have_any_name() -> None:
    registry = Registry()

    @registry.task("odd")
    async def odd(self: int, args: int) -> int:
        return self + args

    assert odd.job(self=1, args=2).payload == {"self": 1, "args": 2}
    assert await odd(self=1, args=2) == 3
