"""Faults of Redis: its network, its process, its commands, its failovers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

from redis import RedisError

from testutil.chaos.crew import NAMESPACE, QUEUES
from testutil.chaos.nemesis import Fault
from testutil.chaos.repeat import repeating
from testutil.chaos.stage import Stage, Unfit
from testutil.chaos.wire import Condition
from testutil.proxy import FaultProxy
from testutil.topology import ClusterTopology, Node, SentinelTopology, SlotMove, slot_of

Strike = Callable[[Stage, Fault], AbstractAsyncContextManager[str]]

_WORD: Final = b"EVALSHA"
_FINISH_LIMIT_S: Final = 20.0


def _on_wire(choose: Callable[[Fault], Condition]) -> Strike:
    """On the wire of one data node."""

    @asynccontextmanager
    async def strike(stage: Stage, fault: Fault) -> AsyncIterator[str]:
        node = stage.node(fault)
        with stage.wires[node.name].under(choose(fault)):
            yield node.name

    return strike


def _refuse(proxy: FaultProxy) -> None:
    """Nobody comes in, and whoever is in goes out."""
    proxy.refuse()
    proxy.reset()


@asynccontextmanager
async def _reset(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    node = stage.node(fault)
    async with repeating(stage.wires[node.name].proxy.reset, fault.value):
        yield node.name


def _again_and_again(*command: str) -> Strike:
    """On every data node that answers, every *value* seconds."""

    @asynccontextmanager
    async def strike(stage: Stage, fault: Fault) -> AsyncIterator[str]:
        def act() -> None:
            for node in stage.topology.data_nodes:
                with suppress(RedisError):
                    node.call(*command)

        async with repeating(act, fault.value):
            yield "all"

    return strike


@asynccontextmanager
async def _client_pause(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """Ends by itself: a paused server does not hear CLIENT UNPAUSE."""
    node = stage.node(fault)
    await asyncio.to_thread(node.call, "CLIENT", "PAUSE", int(fault.lasts_s * 1000), "ALL")
    yield node.name


@asynccontextmanager
async def _debug_sleep(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """The server sleeps in the middle of a command."""
    node = stage.node(fault)
    sleep = asyncio.create_task(asyncio.to_thread(node.call, "DEBUG", "SLEEP", fault.lasts_s))
    await asyncio.wait([sleep], timeout=0.3)
    if sleep.done():
        sleep.result()  # refused
    try:
        yield node.name
    finally:
        with suppress(RedisError):
            await sleep


@asynccontextmanager
async def _killed(node: Node) -> AsyncIterator[str]:
    await asyncio.to_thread(node.kill)
    try:
        yield node.name
    finally:
        await asyncio.to_thread(node.restart)


@asynccontextmanager
async def _stopped(node: Node) -> AsyncIterator[str]:
    node.pause()
    try:
        yield node.name
    finally:
        node.resume()


@asynccontextmanager
async def _restart(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """An orderly shutdown, and up again at the end."""
    node = stage.node(fault)
    with suppress(RedisError):  # nobody answers SHUTDOWN
        await asyncio.to_thread(node.call, "SHUTDOWN")
    try:
        yield node.name
    finally:
        await asyncio.to_thread(node.restart)


def _to(choose: Callable[[Stage, Fault], Node], harm: Callable[[Node], AbstractAsyncContextManager[str]]) -> Strike:
    @asynccontextmanager
    async def strike(stage: Stage, fault: Fault) -> AsyncIterator[str]:
        node = await asyncio.to_thread(choose, stage, fault)
        async with harm(node) as name:
            yield name

    return strike


@asynccontextmanager
async def _partition(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """A replica that hears nobody: stopped, for it speaks to its primary without a proxy of its own."""
    node = await asyncio.to_thread(stage.replica, fault)
    with stage.wires[node.name].under(lambda proxy: proxy.half_open()):
        async with _stopped(node) as name:
            yield name


@asynccontextmanager
async def _sentinel_failover(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    topology = stage.topology
    assert isinstance(topology, SentinelTopology)
    new = await asyncio.to_thread(topology.failover, fault.lasts_s + 10)
    yield f"to {new.name}"


@asynccontextmanager
async def _cluster_failover(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """In agreement with the primary, which stays as a replica."""
    topology = stage.topology
    assert isinstance(topology, ClusterTopology)
    old = await asyncio.to_thread(stage.primary, fault)
    new = await asyncio.to_thread(topology.failover, old, within_s=fault.lasts_s + 10)
    yield f"{old.name} to {new.name}"


@asynccontextmanager
async def _move_slot(stage: Stage, fault: Fault) -> AsyncIterator[str]:
    """The slot of one queue goes to another node: half of its keys at once, the others at the end."""
    topology = stage.topology
    assert isinstance(topology, ClusterTopology)
    queue = QUEUES[fault.target % len(QUEUES)]
    move = await asyncio.to_thread(_begin_move, topology, slot_of(f"{{{NAMESPACE}:{queue}}}"), fault)
    try:
        yield f"{queue}: {move.source.name} to {move.target.name}"
    finally:
        await asyncio.to_thread(_finish, move)


def _finish(move: SlotMove) -> None:
    """A slot that stays half moved would stop its queue for ever: repeated until done."""
    deadline = time.monotonic() + _FINISH_LIMIT_S
    while True:
        try:
            return move.finish()
        except RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _begin_move(topology: ClusterTopology, slot: int, fault: Fault) -> SlotMove:
    owner = topology.owner(slot)
    others = [node for node in topology.primaries() if node is not owner]
    if not others:
        raise Unfit("no other primary now")
    move = SlotMove(topology, slot, others[fault.target % len(others)])
    move.__enter__()
    try:
        keys = move.keys()
        move.take(*keys[: len(keys) // 2])
    except RedisError:
        _finish(move)
        raise
    return move


_WIRE_FAULTS: Final[dict[str, Strike]] = {
    "wire.latency": _on_wire(lambda fault: lambda proxy: proxy.latency(fault.value, fault.value / 2)),
    "wire.throttle": _on_wire(lambda fault: lambda proxy: proxy.throttle(int(fault.value))),
    "wire.reset": _reset,
    "wire.cut_replies": _on_wire(lambda fault: lambda proxy: proxy.cut_replies_after(int(fault.value), times=3)),
    "wire.drop_replies": _on_wire(lambda fault: lambda proxy: proxy.drop_reply(_WORD, after=3, times=int(fault.value))),
    "wire.drop_requests": _on_wire(
        lambda fault: lambda proxy: proxy.drop_request(_WORD, after=3, times=int(fault.value))
    ),
    "wire.swallow_replies": _on_wire(
        lambda fault: lambda proxy: proxy.swallow_reply(_WORD, after=3, times=int(fault.value))
    ),
    "wire.stall": _on_wire(lambda _: lambda proxy: proxy.stall()),
    "wire.mute_requests": _on_wire(lambda _: lambda proxy: proxy.mute("requests")),
    "wire.mute_replies": _on_wire(lambda _: lambda proxy: proxy.mute("replies")),
    "wire.half_open": _on_wire(lambda _: lambda proxy: proxy.half_open()),
    "wire.refuse": _on_wire(lambda _: _refuse),
}

REDIS_FAULTS: Final[dict[str, Strike]] = {
    **_WIRE_FAULTS,
    "server.script_flush": _again_and_again("SCRIPT", "FLUSH"),
    "server.client_kill": _again_and_again("CLIENT", "KILL", "TYPE", "normal"),
    "server.client_pause": _client_pause,
    "server.debug_sleep": _debug_sleep,
    "server.restart": _restart,
    "server.kill": _to(Stage.node, _killed),
    "server.stop": _to(Stage.node, _stopped),
    "primary.kill": _to(Stage.primary, _killed),
    "primary.stop": _to(Stage.primary, _stopped),
    "replica.kill": _to(Stage.replica, _killed),
    "replica.partition": _partition,
    "sentinel.failover": _sentinel_failover,
    "cluster.failover": _cluster_failover,
    "cluster.move_slot": _move_slot,
}
