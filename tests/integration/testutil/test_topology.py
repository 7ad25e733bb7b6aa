"""The layouts of servers that other tests build upon, for real, with both binaries."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import OutOfMemoryError, ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from jobqueue.embedded import EmbeddedServerError, RedisBinary, find_redis_server
from testutil.eventually import eventually
from testutil.topology import (
    ClusterTopology,
    Node,
    Profile,
    SentinelTopology,
    SlotMove,
    fake_clock,
    faketime_obstacle,
    fill_disk,
    move_slot,
    open_topology,
    slot_of,
    small_disk,
    small_disk_obstacle,
    squeeze_memory,
    start_topology,
)

ROOT = Path(__file__).parents[3]
OF_DEBIAN = pytest.param(
    "redis-server",
    marks=[
        pytest.mark.long,
        pytest.mark.skipif(find_redis_server() is None, reason="no redis-server on PATH"),
    ],
)
BINARIES = ["valkey", OF_DEBIAN]

needs_small_disk = pytest.mark.skipif(small_disk_obstacle() is not None, reason=str(small_disk_obstacle()))
needs_faketime = pytest.mark.skipif(faketime_obstacle() is not None, reason=str(faketime_obstacle()))


@pytest.fixture(scope="module", params=BINARIES)
def sentinel(request: pytest.FixtureRequest) -> Iterator[SentinelTopology]:
    with start_topology("sentinel", binary=request.param, proxied=True) as topology:
        yield topology


@pytest.fixture(scope="module", params=BINARIES)
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterTopology]:
    with start_topology("cluster", binary=request.param, proxied=True, replicas=1) as topology:
        yield topology


@pytest.fixture(scope="module")
def small_cluster() -> Iterator[ClusterTopology]:
    with start_topology("cluster") as topology:
        yield topology


# --- one server ---


@pytest.mark.parametrize("binary", BINARIES)
@pytest.mark.parametrize(
    ("profile", "fsync", "kept"), [("standalone", "everysec", "1"), ("always", "always", "1"), ("memory", None, None)]
)
def test_a_profile_says_what_outlives_a_killed_server(
    binary: RedisBinary, profile: Profile, fsync: str | None, kept: str | None
) -> None:
    with start_topology(profile, binary=binary) as topology:
        (node,) = topology.nodes
        port = node.port
        node.call("SET", "a", 1)

        node.kill()
        assert not node.is_alive()
        node.restart()
        topology.wait_ready()

        assert (node.port, node.call("GET", "a")) == (port, kept)
        assert _config(node, "appendonly") == ("yes" if fsync else "no")
        assert fsync is None or _config(node, "appendfsync") == fsync


async def test_the_url_leads_through_the_proxy_and_the_direct_url_past_it() -> None:
    async with open_topology("memory") as topology:
        (proxy,) = topology.proxies

        assert _ping(topology.url)
        assert _ping(topology.direct_url)
        proxy.refuse()
        with pytest.raises(RedisConnectionError):
            _ping(topology.url)
        assert _ping(topology.direct_url)
        proxy.heal()
        assert _ping(topology.url)


def test_a_paused_node_answers_nobody_and_goes_on_when_resumed() -> None:
    with start_topology("memory") as topology:
        (node,) = topology.nodes
        node.pause()

        assert not node.is_alive()
        assert topology.primaries() == []
        with pytest.raises(RedisError):
            _ping(topology.url, limit_s=0.2)
        node.resume()

        assert _ping(topology.url)
        assert topology.primaries() == [node]


def test_a_paused_node_can_be_restarted() -> None:
    with start_topology("memory") as topology:
        (node,) = topology.nodes
        node.pause()

        node.restart()

        assert node.is_alive()


# --- Sentinel ---


def test_sentinels_name_the_proxies_of_all_data_nodes(sentinel: SentinelTopology) -> None:
    sentinel.wait_ready()
    client = _sentinel_client(sentinel)

    named = {client.discover_master("mymaster"), *client.discover_slaves("mymaster")}

    assert named == {("127.0.0.1", node.proxy.port) for node in sentinel.data_nodes if node.proxy}
    assert sentinel.url == f"redis+sentinel://{','.join(node.address for node in sentinel.sentinels)}/mymaster"
    assert all(node.proxy and node.port == node.proxy.port != node.server.port for node in sentinel.nodes)


def test_a_killed_primary_is_replaced_and_comes_back_as_a_replica(sentinel: SentinelTopology) -> None:
    sentinel.wait_ready()
    old = sentinel.primary()
    assert old is not None
    assert sentinel.primaries() == [old]

    old.kill()
    new = sentinel.wait_failover(old)
    old.restart()
    sentinel.wait_ready()

    assert sentinel.primaries() == [new] == [sentinel.primary()]
    assert old.call("ROLE")[0] == "slave"


def test_a_failover_can_be_ordered(sentinel: SentinelTopology) -> None:
    sentinel.wait_ready()
    old = sentinel.primary()
    assert old is not None
    old.call("SET", "kept", "yes")
    old.call("WAIT", 2, 5000)

    new = sentinel.failover()

    assert new is not old
    assert new.call("GET", "kept") == "yes"
    sentinel.wait_ready()
    assert sentinel.primaries() == [new]


def test_a_primary_cut_off_by_its_proxy_is_replaced(sentinel: SentinelTopology) -> None:
    sentinel.wait_ready()
    old = sentinel.primary()
    assert old is not None
    assert old.proxy is not None

    old.proxy.half_open()
    new = sentinel.wait_failover(old)
    assert set(sentinel.primaries()) == {old, new}, "the old one cannot know"
    old.proxy.heal()
    sentinel.wait_ready()

    assert sentinel.primaries() == [new]


def test_a_killed_sentinel_remembers(sentinel: SentinelTopology) -> None:
    sentinel.wait_ready()
    node = sentinel.sentinels[0]

    node.kill()
    with pytest.raises(TimeoutError):
        sentinel.wait_ready(within_s=0.1)
    node.restart()

    sentinel.wait_ready()


def test_a_promoted_node_is_still_primary_after_a_restart(sentinel: SentinelTopology) -> None:
    """It once followed its first primary again, which by then was a replica: the command line overruled the file."""
    sentinel.wait_ready()
    promoted = sentinel.failover()
    sentinel.wait_ready()

    for node in sentinel.sentinels:
        node.pause()
    promoted.restart()
    assert promoted.is_primary()
    for node in sentinel.sentinels:
        node.resume()

    sentinel.wait_ready()


def test_two_sentinels_suffice_for_a_failover(sentinel: SentinelTopology) -> None:
    sentinel.wait_ready()
    old = sentinel.primary()
    assert old is not None

    sentinel.sentinels[2].pause()
    old.kill()
    new = sentinel.wait_failover(old)
    sentinel.sentinels[2].resume()
    old.restart()

    sentinel.wait_ready()
    assert sentinel.primaries() == [new]


# --- Cluster ---


def test_the_cluster_names_the_proxies_of_all_nodes(cluster: ClusterTopology) -> None:
    cluster.wait_ready()
    with _cluster_client(cluster) as client:
        for number in range(100):
            client.set(f"k{number}", number)

        assert {node.port for node in client.get_nodes()} == {node.proxy.port for node in cluster.nodes if node.proxy}
        assert all(node.proxy and node.proxy.connections for node in cluster.primaries())
        assert len(cluster.primaries()) == 3
        assert cluster.primary_of("k1").call("GET", "k1") == "1"


def test_a_killed_primary_of_a_cluster_is_replaced_and_comes_back_as_a_replica(cluster: ClusterTopology) -> None:
    cluster.wait_ready()
    old = cluster.primary_of("a")
    (replica,) = cluster.replicas_of(old)

    old.kill()
    new = cluster.wait_failover(old)
    old.restart()
    cluster.wait_ready()

    assert new is replica
    assert cluster.primary_of("a") is new
    assert old.call("ROLE")[0] == "slave"


def test_a_failover_of_a_cluster_can_be_ordered(cluster: ClusterTopology) -> None:
    cluster.wait_ready()
    old = cluster.primary_of("a")

    new = cluster.failover(old)

    assert new in cluster.replicas_of(old)
    cluster.wait_ready()
    assert cluster.primary_of("a") is new


def test_a_cluster_with_a_dead_node_is_not_ready(small_cluster: ClusterTopology) -> None:
    node = small_cluster.owner(0)

    node.kill()
    with pytest.raises(TimeoutError):
        small_cluster.wait_ready(within_s=0.1)
    with pytest.raises(LookupError):
        small_cluster.owner(0)
    node.restart()
    small_cluster.wait_ready()

    assert small_cluster.owner(0) is node


def test_a_slot_on_the_move_answers_ask_and_tryagain(small_cluster: ClusterTopology) -> None:
    here, there = "{tag}:1", "{tag}:2"
    source, target = _owner_and_another(small_cluster, here)
    source.call("MSET", here, 1, there, 2)

    with SlotMove(small_cluster, slot_of(here), target) as move:
        assert set(move.keys()) == {here, there}
        move.take(there)

        assert source.call("GET", here) == "1"
        assert _refusal(source, "GET", there) == f"ASK {slot_of(here)} {target.address}"
        assert _refusal(source, "MGET", here, there).startswith("TRYAGAIN")
        assert _refusal(target, "GET", there) == f"MOVED {slot_of(here)} {source.address}"

    assert small_cluster.primary_of(here) is target
    assert target.call("MGET", here, there) == ["1", "2"]
    assert _refusal(source, "GET", here) == f"MOVED {slot_of(here)} {target.address}"
    small_cluster.wait_ready()


def test_a_moved_stream_keeps_its_group_and_what_is_pending(small_cluster: ClusterTopology) -> None:
    key = "stream"
    source, target = _owner_and_another(small_cluster, key)
    source.call("XGROUP", "CREATE", key, "group", "0", "MKSTREAM")
    source.call("XADD", key, "1-1", "a", "b")
    source.call("XREADGROUP", "GROUP", "group", "me", "STREAMS", key, ">")

    assert move_slot(small_cluster, slot_of(key), target) is source

    assert target.call("XPENDING", key, "group")["pending"] == 1
    small_cluster.wait_ready()


def test_a_slot_moves_between_nodes_with_replicas(cluster: ClusterTopology) -> None:
    cluster.wait_ready()
    source, target = _owner_and_another(cluster, "moving")
    source.call("SET", "moving", 1)

    move_slot(cluster, slot_of("moving"), target)

    cluster.wait_ready()
    with _cluster_client(cluster) as client:
        assert client.get("moving") == "1"
        assert cluster.primary_of("moving") is target


# --- what runs out ---


@pytest.mark.parametrize("binary", BINARIES)
def test_a_squeezed_server_refuses_what_needs_memory_until_let_go(binary: RedisBinary) -> None:
    with start_topology("memory", binary=binary) as topology:
        (node,) = topology.nodes
        node.call("SET", "early", "x")

        with squeeze_memory(node, 1_000_000):
            with pytest.raises(OutOfMemoryError):
                _write(node, times=1000, size=10_000)
            assert node.call("DBSIZE") > 10, "what there was to spare could be used"
            assert node.call("GET", "early") == "x", "nothing was evicted"

        node.call("SET", "late", "x")


@needs_small_disk
@pytest.mark.parametrize("binary", BINARIES)
async def test_a_server_on_a_full_disk_refuses_writes_until_there_is_room(binary: RedisBinary) -> None:
    with small_disk() as disk, start_topology("standalone", binary=binary, disk=disk) as topology:
        (node,) = topology.nodes

        with fill_disk(disk):
            refusal = await eventually(lambda: _refusal_or_none(node, "SET", "a", "x" * 5000), within_s=30)
            assert "MISCONF" in refusal

        await eventually(lambda: _refusal_or_none(node, "SET", "b", "y") is None, within_s=30)
        # While an fsync is under way, `everysec` may answer before it writes.
        await eventually(lambda: node.call("INFO", "persistence")["aof_buffer_length"] == 0)
        node.kill()
        node.restart()
        assert node.call("GET", "b") == "y"


@needs_small_disk
async def test_a_server_that_syncs_always_ends_on_a_full_disk_and_can_be_restarted() -> None:
    with small_disk() as disk, start_topology("always", disk=disk) as topology:
        (node,) = topology.nodes
        node.call("SET", "early", 1)

        with fill_disk(disk), pytest.raises(RedisConnectionError):
            _write(node, times=100, size=5000)
        node.restart()

        assert node.call("GET", "early") == "1"


@needs_small_disk
async def test_a_small_disk_is_unmounted_at_the_end_and_when_its_process_is_killed() -> None:
    with small_disk() as disk:
        assert disk.is_mount()
    assert not disk.exists()

    process, (path,) = _start_script("""
        import json, sys
        from testutil.topology import small_disk
        with small_disk() as disk:
            print(json.dumps([str(disk)]), flush=True)
            sys.stdin.read()
    """)
    assert os.path.ismount(path)  # noqa: ASYNC240
    process.kill()
    process.communicate()

    await eventually(lambda: not Path(path).exists(), within_s=30)


def test_only_a_disk_of_its_own_is_filled(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no disk of its own"), fill_disk(tmp_path):
        pass


# --- the clock ---


@needs_faketime
async def test_a_server_s_clock_can_be_shifted_while_it_runs() -> None:
    with fake_clock() as clock, start_topology("memory", env=clock.env) as topology:
        (node,) = topology.nodes

        assert abs(_ahead_s(node)) < 60
        for shift in (600, -600, 0):
            clock.shift(shift)
            assert abs(_ahead_s(node) - shift) < 60


@needs_faketime
def test_a_process_s_clock_can_be_wrong_while_its_monotonic_clock_is_right() -> None:
    with fake_clock() as clock:
        clock.shift(-600)
        seen = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"],
            env=os.environ | clock.env,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    wall, monotonic = map(float, seen.split())

    assert abs(wall - time.time() + 600) < 60
    assert abs(monotonic - time.monotonic()) < 60


# --- nothing is left behind ---


async def test_cancelled_while_it_starts_a_topology_leaves_nothing_running() -> None:
    before = _servers_of_ours()
    opening = asyncio.create_task(_open_and_wait())
    await eventually(lambda: _servers_of_ours() - before)

    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    assert _servers_of_ours() <= before


def test_a_topology_that_does_not_start_leaves_nothing_running() -> None:
    before = _servers_of_ours()

    with pytest.raises(EmbeddedServerError):
        start_topology("sentinel", extra_args=["--replica-priority", "nonsense"])

    assert _servers_of_ours() <= before


async def test_the_servers_of_a_killed_process_end() -> None:
    process, pids = _start_script("""
        import json, sys
        from testutil.topology import start_topology
        with start_topology("sentinel") as topology:
            topology.nodes[1].pause()
            print(json.dumps([node.server.pid for node in topology.nodes]), flush=True)
            sys.stdin.read()
    """)
    assert len(pids) == 6
    assert all(psutil.pid_exists(pid) for pid in pids)

    process.send_signal(signal.SIGKILL)
    process.communicate()

    await eventually(lambda: not any(map(_runs, pids)), within_s=30)


async def _open_and_wait() -> None:
    async with open_topology("cluster"):
        await asyncio.Event().wait()


def _servers_of_ours() -> set[int]:
    return {child.pid for child in psutil.Process().children() if _runs(child.pid)}


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _start_script(text: str) -> tuple["subprocess.Popen[str]", list[Any]]:
    """A Python process; the first line it prints is JSON."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"if True:{text}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def _ping(url: str, *, limit_s: float = 5.0) -> bool:
    with Redis.from_url(url, socket_timeout=limit_s, retry=Retry(NoBackoff(), 0)) as client:
        return bool(client.ping())


def _sentinel_client(topology: SentinelTopology) -> Sentinel:
    return Sentinel([("127.0.0.1", node.port) for node in topology.sentinels], socket_timeout=5)


def _cluster_client(topology: ClusterTopology) -> RedisCluster:
    nodes = [ClusterNode("127.0.0.1", node.port) for node in topology.nodes]
    return RedisCluster(startup_nodes=nodes, decode_responses=True)


def _config(node: Node, name: str) -> str:
    reply = node.call("CONFIG", "GET", name)
    return str(reply[1])


def _owner_and_another(topology: ClusterTopology, key: str) -> tuple[Node, Node]:
    owner = topology.primary_of(key)
    return owner, next(node for node in topology.primaries() if node is not owner)


def _write(node: Node, *, times: int, size: int) -> None:
    for number in range(times):
        node.call("SET", number, "x" * size)


def _refusal(node: Node, *command: str) -> str:
    with pytest.raises(ResponseError) as refused:
        node.call(*command)
    prefix = {"AskError": "ASK ", "MovedError": "MOVED ", "TryAgainError": "TRYAGAIN "}
    return prefix.get(type(refused.value).__name__, "") + str(refused.value)


def _refusal_or_none(node: Node, *command: str) -> str | None:
    try:
        node.call(*command)
    except ResponseError as refusal:
        return str(refusal)
    return None


def _ahead_s(node: Node) -> float:
    seconds, _ = node.call("TIME")
    return float(seconds) - time.time()
