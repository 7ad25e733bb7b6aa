"""Tasks by name: `@registry.task(...)`, and their schedules: `@registry.cron(...)`."""

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

from jobqueue.arguments import Arguments, function_of, where
from jobqueue.context import JobContext, current_job
from jobqueue.declaration import Declarations, Timing
from jobqueue.errors import DuplicateTask, InvalidJob, RegistryError, UnknownTask
from jobqueue.job import Job, Priority
from jobqueue.middleware.base import CallNext, Middleware, compose
from jobqueue.retry import RetryFunction, RetryPolicy
from jobqueue.schedule import DEFAULT_CATCHUP, DEFAULT_GRACE, Misfire, Overlap, Schedule

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
AnyTask = TypeVar("AnyTask", bound="Task[..., Any]")

DEFAULT_RETRY = RetryPolicy()
_NOTHING = timedelta(0)


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
        self._arguments = Arguments(name, handler)
        self.is_async = inspect.iscoroutinefunction(function_of(handler))
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
        return f"Task({self.name!r}, {where(self.handler)})"


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
        if callable(expression):
            raise RegistryError(
                f"cron takes an expression, as in @registry.cron('0 9 * * *'), and here stands without one above "
                f"{where(expression)}"
            )
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
            schedule = name or task.name
            try:
                job = task.job(**(arguments or {}))
            except InvalidJob as error:
                raise InvalidJob(f"schedule {schedule!r}: {error}; cron takes them as arguments={{...}}") from error
            self._declarations.add(timing.schedule(schedule, job.replace(**options)), where(task.handler))
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
                f"task {task.name!r} is registered twice: by {where(there.handler)} and by {where(task.handler)}; "
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


def _where_any(thing: object) -> str:
    return where(thing) if callable(thing) else repr(thing)[:80]
