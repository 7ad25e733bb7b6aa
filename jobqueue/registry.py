"""Tasks by name: `@registry.task(...)`, the binding of arguments, and their validation.

A handler's signature becomes a pydantic-core schema once, at registration. It validates arguments when a
job is made, so that a bad payload is never queued, and again when it is run.
"""

import asyncio
import difflib
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import msgspec
from pydantic_core import CoreConfig, PydanticSerializationError, SchemaSerializer, SchemaValidator, ValidationError

from jobqueue.context import JobContext, current_job
from jobqueue.declaration import Declarations, Timing
from jobqueue.errors import DuplicateTask, InvalidJob, RegistryError, UnknownTask
from jobqueue.job import Job, Priority, check_payload
from jobqueue.middleware.base import CallNext, Middleware, compose
from jobqueue.retry import RetryFunction, RetryPolicy
from jobqueue.schedule import DEFAULT_CATCHUP, DEFAULT_GRACE, Misfire, Overlap, Schedule
from jobqueue.schema import json_schema, schema

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
AnyTask = TypeVar("AnyTask", bound="Task[..., Any]")

DEFAULT_RETRY = RetryPolicy()
_NOTHING = timedelta(0)

# Values stay out of errors: they end in logs and dead letters, and may be secrets.
_HIDING = CoreConfig(hide_input_in_errors=True)
_WRITING = CoreConfig(ser_json_bytes="base64", ser_json_inf_nan="constants")


class _Decorator(Protocol):
    """What `@registry.task(...)` returns; a first parameter of type `JobContext` is no argument of the job."""

    @overload
    def __call__(self, handler: Callable[Concatenate[JobContext, P], R], /) -> "Task[P, R]": ...

    @overload
    def __call__(self, handler: Callable[P, R], /) -> "Task[P, R]": ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The policy of a task."""

    queue: str = "default"
    priority: Priority = Priority.MEDIUM
    retry: RetryPolicy | RetryFunction = DEFAULT_RETRY
    timeout: timedelta | None = None
    result_ttl: timedelta | None = None
    max_retries: int | None = None


class Task(Generic[P, R]):
    """A registered handler with its policy. Calling it runs the handler here and now, as a plain function."""

    def __init__(self, name: str, handler: Callable[..., R], options: TaskOptions) -> None:
        functools.update_wrapper(self, handler, updated=())
        self.name = name
        self.handler: Callable[..., R] = handler
        self.options = options
        self._arguments = _Arguments(name, handler)
        self.is_async = inspect.iscoroutinefunction(_function(handler))
        self._pattern = Job(name, queue=options.queue, priority=options.priority, result_ttl=options.result_ttl)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        context = self._arguments.context
        if context is None or context in kwargs or any(isinstance(arg, JobContext) for arg in args):
            return self.handler(*args, **kwargs)
        # The context may be the first parameter, and is none of the caller's arguments: by name, nothing shifts.
        return self.handler(**self._arguments.by_name(args, kwargs), **{context: current_job()})

    def job(self, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """A job of this task with these arguments, ready to be enqueued.

        Raises:
            InvalidJob: an argument is missing, unknown or of the wrong type.
        """
        return self._pattern.another(self._arguments.encode(args, kwargs))

    def check(self, payload_json: bytes) -> None:
        """Refuse a payload that the handler could not take.

        Raises:
            InvalidJob: with what is wrong.
        """
        self._arguments.decode(payload_json)

    def bind(self, ctx: JobContext, payload_json: bytes) -> dict[str, Any]:
        """The handler's keyword arguments for one attempt.

        Raises:
            InvalidJob: the payload does not fit the signature.
        """
        arguments = self._arguments.decode(payload_json)
        if self._arguments.context is not None:
            arguments[self._arguments.context] = ctx
        return arguments

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the payload."""
        return self._arguments.json_schema()

    def __repr__(self) -> str:
        return f"Task({self.name!r}, {_where(self.handler)})"


class Registry:
    """Tasks by name, and the middleware around them. Knows no broker: it can be imported anywhere."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}
        self._homes: dict[str, Registry] = {}
        self._declarations = Declarations()
        self._middleware: list[Middleware] = []

    def task(
        self,
        name: str,
        *,
        queue: str = "default",
        priority: Priority | str | int = Priority.MEDIUM,
        retry: RetryPolicy | RetryFunction | None = None,
        max_retries: int | None = None,
        timeout: timedelta | None = None,
        result_ttl: timedelta | None = None,
    ) -> _Decorator:
        """Register the decorated function as the handler of jobs of this *name*.

        Coroutine functions run in the event loop, plain functions in a thread. The result is a
        `Task`: call it to run the handler directly, or `task.job(...)` to make a job.

        Args:
            queue: where its jobs go unless they say otherwise.
            priority: critical, high, medium, low, or 0 to 9.
            retry: a `RetryPolicy`, or a function of (failures, error) that returns the delay or None.
            max_retries: overrides the policy's number; a job's own overrides both.
            timeout: longest run of one attempt.
            result_ttl: keep the returned value in Redis for so long.

        Raises:
            DuplicateTask: the name is taken.
            RegistryError: the signature cannot be validated.
            InvalidJob: the name or an option is wrong.
        """
        # A job with these options tells now what is wrong with them, not when the first is enqueued.
        Job(name, queue=queue, priority=priority, max_retries=max_retries, result_ttl=result_ttl)
        options = TaskOptions(
            queue=queue,
            priority=Priority.parse(priority),
            retry=_check_retry(name, retry),
            timeout=_check_timeout(name, timeout),
            result_ttl=result_ttl,
            max_retries=max_retries,
        )

        def register(handler: Callable[..., Any]) -> Task[..., Any]:
            task: Task[..., Any] = Task(name, handler, options)
            self._refuse_second(task)
            self._tasks[name] = task
            return task

        return typing.cast(_Decorator, register)

    def cron(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        misfire: Misfire | str = Misfire.ONCE,
        max_catchup: int = DEFAULT_CATCHUP,
        grace: timedelta = DEFAULT_GRACE,
        overlap: Overlap | str = Overlap.ALLOW,
        jitter: timedelta = _NOTHING,
        seconds: bool = False,
        name: str | None = None,
        arguments: Mapping[str, object] | None = None,
        queue: str | None = None,
        priority: Priority | str | int | None = None,
    ) -> Callable[[AnyTask], AnyTask]:
        """Let a job of the decorated task be made at each tick of *expression*. Stands above `@registry.task`.

        A task may have several. They begin when a `jobqueue scheduler` of this app starts, and end when one
        starts without them.

        Args:
            expression: five fields, or `@hourly` and the like; six with *seconds*, seconds first.
            timezone: a name of the IANA database; the expression is about the wall clock there.
            misfire: `skip`, `once` or `all`: what becomes of ticks that nobody decided within *grace* after their time.
            max_catchup: of more missed or waiting ticks than this, only so many are made up for.
            overlap: `allow`, `skip` or `queue`: what becomes of a tick while the job of the one before has not ended.
            jitter: each job is due up to so much after its tick, always the same for one tick.
            name: the schedule's name; else the task's.
            arguments: of the task, checked now.
            queue: where its jobs go; else the task's.
            priority: of its jobs; else the task's.

        Raises:
            InvalidSchedule, InvalidJob: something was refused.
            RegistryError: the name is taken, or what stands below is no task of this registry.
        """
        timing = Timing(
            expression=expression,
            timezone=timezone,
            seconds=seconds,
            misfire=misfire,
            max_catchup=max_catchup,
            grace=grace,
            overlap=overlap,
            jitter=jitter,
        )
        given = {"queue": queue, "priority": priority}
        options = {option: value for option, value in given.items() if value is not None}

        def declare(task: AnyTask) -> AnyTask:
            self._refuse_foreign(task)
            job = task.job(**(arguments or {})).replace(**options)
            self._declarations.add(timing.schedule(name or task.name, job), _where(task.handler))
            return task

        return declare

    @property
    def schedules(self) -> list[Schedule]:
        """The schedules of `cron`, by name."""
        return self._declarations.in_order()

    def include(self, other: "Registry") -> None:
        """Take over every task and schedule of *other*. Its middleware wraps its own tasks, inside of ours."""
        if other is self:
            raise RegistryError("a registry cannot include itself")
        for task in other:
            self._refuse_second(task)
        self._declarations.check(other._declarations)
        self._declarations.include(other._declarations)
        for task in other:
            self._tasks[task.name] = task
            self._homes[task.name] = other

    def use(self, middleware: Middleware) -> None:
        """Wrap every attempt in *middleware*; the first used is outermost."""
        self._middleware.append(middleware)

    def get(self, name: str) -> Task[..., Any]:
        """The task of this name.

        Raises:
            UnknownTask: with the closest name there is.
        """
        task = self._tasks.get(name)
        if task is None:
            raise UnknownTask(self._unknown(name))
        return task

    def _unknown(self, name: str) -> str:
        names = sorted(self._tasks)
        close = difflib.get_close_matches(name, names, n=1)
        shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"no task named {name!r} (registered: {shown or 'none'}){hint}"

    def chain(self, task: Task[..., Any], threads: Executor) -> CallNext:
        """The handler of *task* inside all its middleware; plain functions run in *threads*."""
        run = _run_here(task) if task.is_async else _run_in_thread(task, threads)
        return compose(self._around(task.name), run)

    def _around(self, name: str) -> list[Middleware]:
        home = self._homes.get(name)
        return [*self._middleware, *(home._around(name) if home is not None else ())]

    def _refuse_second(self, task: Task[..., Any]) -> None:
        there = self._tasks.get(task.name)
        if there is not None:
            raise DuplicateTask(
                f"task {task.name!r} is registered twice: by {_where(there.handler)} and by {_where(task.handler)}; "
                f"rename one"
            )

    def _refuse_foreign(self, task: object) -> None:
        if not isinstance(task, Task):
            raise RegistryError(f"@registry.cron stands above @registry.task, and here above {_where_any(task)}")
        if self._tasks.get(task.name) is not task:
            raise RegistryError(
                f"task {task.name!r} is not of this registry; use the cron of the registry that it is of, "
                f"or include that one first"
            )

    def __iter__(self) -> Iterator[Task[..., Any]]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks


class _Arguments:
    """A handler's signature as a schema: named arguments to JSON and back."""

    def __init__(self, name: str, handler: Callable[..., Any]) -> None:
        self._name = name
        self._signature = _signature(name, handler)
        hints = _hints(name, handler)
        self.context = next((each for each in self._signature.parameters if hints.get(each) is JobContext), None)
        if self.context is not None:
            rest = [each for each in self._signature.parameters.values() if each.name != self.context]
            self._signature = self._signature.replace(parameters=rest)
        parameters = self._signature.parameters.values()
        self._extra = next((each.name for each in parameters if each.kind is inspect.Parameter.VAR_KEYWORD), None)
        self._in_order = [each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        self._names = frozenset(each.name for each in parameters)
        self._needed = frozenset(each.name for each in parameters if each.default is inspect.Parameter.empty)
        self._hints = hints
        core = schema(name, self._signature.parameters, hints)
        # What is asked of the whole cannot be said in the configuration of a TypedDict.
        self._validator = SchemaValidator(core, _HIDING)
        self._serializer = SchemaSerializer(core, _WRITING)

    def json_schema(self) -> dict[str, Any]:
        return json_schema(self._name, self._signature.parameters, self._hints)

    def by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments as a caller gives them, all by name."""
        given = {**dict(zip(self._in_order, args, strict=False)), **kwargs} if args else kwargs
        once = len(given) == len(args) + len(kwargs)
        if once and self._extra is None and self._needed <= given.keys() <= self._names:
            return given
        # It takes more, or refuses in words that say why; and costs 2 µs.
        bound = self._signature.bind(*args, **kwargs).arguments
        if self._extra is not None:
            bound.update(bound.pop(self._extra, {}))
        return bound

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        try:
            bound = self.by_name(args, kwargs)
        except TypeError as error:
            raise InvalidJob(f"arguments of task {self._name!r}: {error}; it takes {self._signature}") from error
        try:
            values = self._validator.validate_python(bound)
            encoded = self._serializer.to_json(values)
        except ValidationError as error:
            raise InvalidJob(f"arguments of task {self._name!r}: {_in_words(error)}") from error
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidJob(f"arguments of task {self._name!r} have no JSON form: {error}") from error
        _refuse_infinities(self._name, encoded)
        return check_payload(self._name, encoded, values)

    def decode(self, payload_json: bytes) -> dict[str, Any]:
        try:
            arguments: dict[str, Any] = self._validator.validate_json(payload_json)
        except ValidationError as error:
            raise InvalidJob(f"payload of task {self._name!r}: {_in_words(error)}") from error
        return arguments


def _signature(name: str, handler: Callable[..., Any]) -> inspect.Signature:
    function = _function(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistryError(f"task {name!r}: {_where(handler)} is a generator, and calling it would run nothing of it")
    try:
        signature = inspect.signature(handler)
    except ValueError as error:
        raise RegistryError(f"task {name!r}: {handler!r} tells no signature; wrap it in a function") from error
    for parameter in signature.parameters.values():
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise RegistryError(
                f"task {name!r}: parameter {parameter} of {_where(handler)} has no name to be passed by; "
                f"a payload holds arguments by name"
            )
    return signature


def _hints(name: str, handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(_function(handler), include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise RegistryError(
            f"task {name!r}: an annotation of {_where(handler)} cannot be resolved: {error}; "
            f"define or import the type at module level, not under TYPE_CHECKING"
        ) from error


def _refuse_infinities(name: str, encoded: bytes) -> None:
    if b"NaN" in encoded or b"Infinity" in encoded:
        try:
            msgspec.json.decode(encoded)
        except msgspec.DecodeError as error:
            raise InvalidJob(f"arguments of task {name!r} hold NaN or an infinity, which JSON cannot say") from error


def _run_here(task: Task[..., Any]) -> CallNext:
    handler, bind = task.handler, task.bind

    def run(ctx: JobContext) -> Awaitable[object]:
        awaitable: Awaitable[object] = handler(**bind(ctx, ctx.payload_json))
        return awaitable

    return run


def _run_in_thread(task: Task[..., Any], threads: Executor) -> CallNext:
    handler, bind = task.handler, task.bind

    def call(arguments: dict[str, Any]) -> object:
        try:
            return handler(**arguments)
        except StopIteration as error:
            # A future cannot hold one; coroutines, too, end with this instead.
            raise RuntimeError("the handler raised StopIteration") from error

    async def run(ctx: JobContext) -> object:
        arguments = bind(ctx, ctx.payload_json)
        ctx.arm()
        context = copy_context()
        running = asyncio.get_running_loop().run_in_executor(threads, lambda: context.run(call, arguments))
        value = await _uninterrupted(running)
        # A plain function around a coroutine function, such as a decorator makes, returns what is to be awaited.
        return await value if inspect.isawaitable(value) else value

    return run


async def _uninterrupted(running: "asyncio.Future[object]") -> object:
    """Wait for a thread to its end: it cannot be interrupted, and its job must not start elsewhere beside it.

    The worker leaves it behind when its grace is over.
    """
    while True:
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.done():
                return running.result()


def _function(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a partial, or the method that makes an object callable: it has the annotations."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if inspect.isroutine(handler) or inspect.isclass(handler) or not callable(handler):
        return handler
    return type(handler).__call__


def _check_retry(name: str, retry: RetryPolicy | RetryFunction | None) -> RetryPolicy | RetryFunction:
    if retry is None:
        return DEFAULT_RETRY
    if isinstance(retry, RetryPolicy) or callable(retry):
        return retry
    raise TypeError(f"task {name!r}: retry must be a RetryPolicy or a function of (failures, error), got {retry!r}")


def _check_timeout(name: str, timeout: timedelta | None) -> timedelta | None:
    if timeout is None or (isinstance(timeout, timedelta) and timeout > timedelta(0)):
        return timeout
    raise TypeError(f"task {name!r}: timeout must be a positive timedelta, got {timeout!r}")


def _in_words(error: ValidationError) -> str:
    """Every complaint on one line, with the value's type but without the value, which may be a secret."""
    complaints = (
        f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']} (got {type(each['input']).__name__})"
        for each in error.errors(include_url=False, include_context=False)
    )
    return "; ".join(complaints)


def _where_any(thing: object) -> str:
    return _where(thing) if callable(thing) else repr(thing)[:80]


def _where(handler: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(handler), "__code__", None)
    name = getattr(handler, "__qualname__", repr(handler))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
