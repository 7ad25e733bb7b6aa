"""Threads for handlers that are plain functions.

Not `ThreadPoolExecutor`: the interpreter waits for its threads at exit, so one handler that never
returns would hold the process for ever. These are daemons, and there is no queue before them: the worker's
slots bound how many run at once, and one that is left behind takes no other's place.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Call = Callable[[], None]


class Threads(Executor):
    """Runs each call at once: in a thread that is idle, else in a new one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: list[queue.SimpleQueue[_Call | None]] = []
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        if self._closed:
            raise RuntimeError("these threads have ended")
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(inbox,), name=self._name, daemon=True).start()
        inbox.put(call)
        return future

    def _work(self, inbox: "queue.SimpleQueue[_Call | None]") -> None:
        while (call := inbox.get()) is not None:
            call()
            del call  # what it holds must not live until the next one
            self._idle.append(inbox)
            if self._closed:
                self.shutdown()

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """End the idle threads; those that run a handler end after it. Never waits."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)
