"""Starting a topology by its profile's name."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict, Unpack, overload

from jobqueue.embedded import RedisBinary
from testutil.proxy import ProxyHost
from testutil.topology.cluster import ClusterTopology
from testutil.topology.sentinel import SentinelTopology
from testutil.topology.server import binary_path
from testutil.topology.setup import Setup
from testutil.topology.single import AlwaysSynced, InMemory, Single
from testutil.topology.topology import Topology

Profile = Literal["standalone", "always", "memory", "sentinel", "cluster"]

_KINDS: dict[str, type[Topology]] = {
    kind.profile: kind for kind in (Single, AlwaysSynced, InMemory, SentinelTopology, ClusterTopology)
}


class Options(TypedDict, total=False):
    """*proxied*: a proxy before each server. The others as in `Setup`."""

    binary: RedisBinary
    proxied: bool
    replicas: int
    extra_args: Sequence[str]
    env: Mapping[str, str]
    disk: Path


@overload
def start_topology(profile: Literal["sentinel"], **options: Unpack[Options]) -> SentinelTopology: ...
@overload
def start_topology(profile: Literal["cluster"], **options: Unpack[Options]) -> ClusterTopology: ...
@overload
def start_topology(profile: Literal["standalone", "always", "memory"], **options: Unpack[Options]) -> Single: ...
@overload
def start_topology(profile: Profile, **options: Unpack[Options]) -> Topology: ...
def start_topology(profile: Profile, **options: Unpack[Options]) -> Topology:
    """Start servers, without proxies unless told, and wait until they serve; a context manager that stops them.

    The proxies run in a thread of their own; their faults can be set from any thread.

    Raises:
        ConfigError: there is no such binary.
        TimeoutError: they did not get ready.
    """
    binary, proxied = binary_path(options.pop("binary", "valkey")), options.pop("proxied", False)
    with ExitStack() as stack:
        host = stack.enter_context(ProxyHost()) if proxied else None
        topology = stack.enter_context(_KINDS[profile](Setup(binary=binary, host=host, **options)))
        topology.start()
        topology.wait_ready()
        stack.pop_all()
    return topology


@overload
def open_topology(
    profile: Literal["sentinel"], **options: Unpack[Options]
) -> AbstractAsyncContextManager[SentinelTopology]: ...
@overload
def open_topology(
    profile: Literal["cluster"], **options: Unpack[Options]
) -> AbstractAsyncContextManager[ClusterTopology]: ...
@overload
def open_topology(
    profile: Literal["standalone", "always", "memory"], **options: Unpack[Options]
) -> AbstractAsyncContextManager[Single]: ...
@overload
def open_topology(profile: Profile, **options: Unpack[Options]) -> AbstractAsyncContextManager[Topology]: ...
def open_topology(profile: Profile, **options: Unpack[Options]) -> AbstractAsyncContextManager[Topology]:
    """`start_topology` for `async with`: starts and stops without blocking the event loop, and with proxies.

    What a `Topology` and a `Node` do then blocks, so long waits belong in `asyncio.to_thread`.
    Cancelled while the servers start, it waits until they did and stops them.
    """
    options.setdefault("proxied", True)
    return _opened(partial(start_topology, profile, **options))


@asynccontextmanager
async def _opened(start: Callable[[], Topology]) -> AsyncIterator[Topology]:
    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        topology = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if starting.exception() is None:
            await asyncio.to_thread(starting.result().stop)
        raise
    try:
        yield topology
    finally:
        await asyncio.to_thread(topology.stop)
