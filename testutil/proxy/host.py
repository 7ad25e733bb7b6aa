"""Proxies in a thread of their own: a checker that blocks its event loop does not stall them."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from testutil.proxy.fault_proxy import FaultProxy, address_of

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop  # type: ignore[assignment]

_LIMIT_S = 30.0
_T = TypeVar("_T")


class ProxyHost:
    """A thread with an event loop, uvloop's where it is installed; not for use in a callback of its proxies.

    with ProxyHost() as host:
        proxy = host.add(server.url)
        proxy.stall()
    """

    def __init__(self) -> None:
        self._loop = new_event_loop()
        self._proxies: list[FaultProxy] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def add(self, upstream: tuple[str, int] | str, *, port: int = 0, commands: bool = True) -> FaultProxy:
        """Start a proxy in front of an address or a URL, on *port* or a free one."""
        if isinstance(upstream, str):
            proxy = FaultProxy(address_of(upstream), port=port, commands=commands, upstream_url=upstream)
        else:
            proxy = FaultProxy(upstream, port=port, commands=commands)
        self._run(proxy.start())
        self._proxies.append(proxy)
        return proxy

    def remove(self, proxy: FaultProxy) -> None:
        """Stop it."""
        self._proxies.remove(proxy)
        self._run(proxy.stop())

    def close(self) -> None:
        """Stop all proxies and the thread."""
        if self._loop.is_closed():
            return
        for proxy in list(self._proxies):
            self.remove(proxy)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
