"""A client's connection and the one made for it to the server."""

import asyncio
import inspect
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from testutil.proxy.condition import HEALTHY, Conditions, Direction
from testutil.proxy.conversation import Conversation
from testutil.proxy.lane import Lane
from testutil.proxy.plan import Fate, Plans

_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_WRITE_BUFFER = 2**20


class Owner(Protocol):
    """What a link needs of its proxy."""

    upstream: tuple[str, int]
    commands: bool
    refusing: bool
    on_fault: Callable[[], object] | None
    conditions: Conditions
    plans: Plans
    links: "set[Link]"

    def forget(self, link: "Link") -> None: ...

    def own(self, task: "asyncio.Task[None]") -> None: ...


class Link:
    """*has_lost* bytes, so it cannot go on: it is reset when the network heals."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.conversation = Conversation(owner.plans, resp=owner.commands)
        self.requests = Lane(lambda: owner.conditions, self.regulate)
        self.replies = Lane(lambda: owner.conditions, self.regulate)
        self.client = End(self, "requests", self.requests, self.conversation.request)
        self.server = End(self, "replies", self.replies, self.conversation.reply)
        self.has_lost = False
        self.is_closed = False

    def accepted(self, transport: asyncio.Transport) -> None:
        if self.owner.refusing:
            self.is_closed = True
            self.client.abort(rst=True)
            return
        self.replies.target = transport
        self.owner.links.add(self)
        if self.owner.conditions.half_open:
            self.has_lost = True
        else:
            self.owner.own(asyncio.get_running_loop().create_task(self._connect()))
        self.regulate()

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.server, *self.owner.upstream)
        except OSError:
            self.abort(rst=True)

    def connected(self, transport: asyncio.Transport) -> None:
        if self.is_closed:
            transport.abort()
            return
        self.requests.target = transport
        self.requests.deliver()
        self.regulate()

    def carry_out(self, fate: Fate) -> None:
        """What becomes of the connection when the reply, or the request, is lost."""
        self.has_lost = True
        answer = self.owner.on_fault() if self.owner.on_fault is not None else None
        if inspect.isawaitable(answer):
            self.owner.own(asyncio.get_running_loop().create_task(self._after(answer, fate)))
        else:
            self._end_by(fate)

    async def _after(self, answer: Awaitable[object], fate: Fate) -> None:
        try:
            await answer
        finally:
            self._end_by(fate)

    def _end_by(self, fate: Fate) -> None:
        if fate != "swallow reply":
            self.replies.put(self._close)

    def pass_eof(self, end: "End") -> None:
        other = self.server if end is self.client else self.client
        end.eof_is_passed = True
        if other.eof_is_passed:
            self._close()
        else:
            other.write_eof()

    def _close(self) -> None:
        """Give the client what was sent to it, and no more."""
        self.is_closed = True
        self.client.close()
        self.server.abort()

    def lost(self, end: "End", error: Exception | None) -> None:
        if not self.is_closed:
            if self.owner.conditions.loses(end.direction):
                self.has_lost = True
            else:
                self.abort(rst=error is not None)
        if self.client.is_gone and (self.server.is_gone or self.server.transport is None):
            self.is_closed = True
            self.requests.clear()
            self.replies.clear()
            self.owner.forget(self)

    def healed(self) -> None:
        if self.has_lost and not self.owner.conditions.loses_any:
            self.abort(rst=True)
            return
        self.requests.deliver()
        self.replies.deliver()
        self.regulate()

    def abort(self, *, rst: bool = False) -> None:
        self.is_closed = True
        self.client.abort(rst=rst)
        self.server.abort(rst=rst)

    def regulate(self) -> None:
        """Read from a side what the other can take."""
        flows = not self.owner.conditions.stalled
        self.client.read(flows and not self.server.is_full and not self.requests.is_full)
        self.server.read(flows and not self.client.is_full and not self.replies.is_full)


class End(asyncio.Protocol):
    """One side of a link: *direction* is the way of what it sends."""

    def __init__(self, link: Link, direction: Direction, lane: Lane, edit: Callable[[bytes], bytes]) -> None:
        self.direction = direction
        self.transport: asyncio.Transport | None = None
        self.is_gone = False
        self.is_full = False
        self.eof_is_passed = False
        self._link = link
        self._owner = link.owner
        self._lane = lane
        self._edit = edit
        self._has_ended = False
        self._is_read = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        if self.direction == "requests":
            self._link.accepted(transport)
        else:
            self._link.connected(transport)

    def data_received(self, data: bytes) -> None:
        conditions = self._owner.conditions
        lane = self._lane
        if conditions is HEALTHY:
            data = self._edit(data)
            target = lane.target
            if target is not None and lane.is_empty and not target.is_closing():
                target.write(data)
            elif data:
                lane.put(data)
        elif conditions.loses(self.direction):
            self._link.has_lost = True
        elif data := self._edit(data):
            lane.put(data)
        if self._link.conversation.has_fate and (fate := self._link.conversation.due()):
            self._link.carry_out(fate)

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._owner.conditions.loses(self.direction):
            self._link.has_lost = True
        else:
            self._lane.put(partial(self._link.pass_eof, self))
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = True
        self._link.lost(self, error)

    def pause_writing(self) -> None:
        self.is_full = True
        self._link.regulate()

    def resume_writing(self) -> None:
        self.is_full = False
        self._link.regulate()

    def read(self, wanted: bool) -> None:
        if self.transport is None or wanted == self._is_read or self._has_ended or self.transport.is_closing():
            return
        self._is_read = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def write_eof(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            with suppress(OSError):
                self.transport.write_eof()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self, *, rst: bool = False) -> None:
        if self.transport is None or self.is_gone:
            return
        if rst:
            with suppress(OSError):
                connection = self.transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.transport.abort()
