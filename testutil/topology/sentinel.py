"""One primary, two replicas and three Sentinels."""

from contextlib import suppress

from redis import RedisError, ResponseError

from testutil.topology.node import Node
from testutil.topology.server import DataServer
from testutil.topology.single import PERSISTENCE
from testutil.topology.topology import READY_LIMIT_S, Topology
from testutil.topology.waiting import wait_until

SERVICE = "mymaster"
_REPLICAS = 2
_SENTINELS = 3
_QUORUM = 2


class SentinelTopology(Topology):
    """Quorum 2, down after 1 s, failover timeout 5 s; the service is called `mymaster`.

    Replicas and Sentinels reach the data nodes where clients do: a fault of a primary's proxy is one of the
    network around it, and makes the Sentinels choose another. Sentinels talk to each other directly.
    """

    profile = "sentinel"

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(node.address for node in self.sentinels)}/{SERVICE}"

    @property
    def sentinels(self) -> list[Node]:
        return [node for node in self.nodes if node.kind == "sentinel"]

    def start(self) -> None:
        primary = self._add_data_node("data-1", DataServer, PERSISTENCE["standalone"], "replica-announce")
        following = f"replicaof 127.0.0.1 {primary.port}\n"
        for number in range(2, 2 + _REPLICAS):
            self._add_data_node(
                f"data-{number}", DataServer, PERSISTENCE["standalone"], "replica-announce", conf=following
            )
        # A Sentinel that starts before the replicas are linked does not hear of them at once.
        wait_until(lambda: _linked(primary) == _REPLICAS, "replicas are linked", READY_LIMIT_S)
        for number in range(1, 1 + _SENTINELS):
            self._add_sentinel(f"sentinel-{number}", _conf(primary.port))

    def wait_ready(self, within_s: float = READY_LIMIT_S) -> None:
        wait_until(self._is_ready, "all Sentinels agree on one primary with all replicas linked", within_s)

    def _is_ready(self) -> bool:
        primaries = self.primaries()
        return (
            len(primaries) == 1
            and _linked(primaries[0]) == _REPLICAS
            and all(_sees_all(sentinel, primaries[0]) for sentinel in self.sentinels)
        )

    def primary(self) -> Node | None:
        """The one that most Sentinels name, whatever it says itself; None when there is no majority."""
        named = [port for port in map(_named_port, self.sentinels) if port is not None]
        return next((node for node in self.data_nodes if named.count(node.port) > _SENTINELS // 2), None)

    def failover(self, within_s: float = READY_LIMIT_S) -> Node:
        """Order a failover, wait until most Sentinels name the new primary and it says so too, and return it.

        The order is repeated where Sentinel refuses it, having no good replica yet, or gives it up.
        """
        old = self.primary()
        sentinel = next(node for node in self.sentinels if node.is_alive())

        def find() -> Node | None:
            if old is not None and _named_port(sentinel) == old.port:
                with suppress(ResponseError):  # it is on its way, or has to wait
                    sentinel.call("SENTINEL", "FAILOVER", SERVICE)
            return self._successor(old)

        return wait_until(find, f"a failover away from {old}", within_s)

    def wait_failover(self, old: Node | None, within_s: float = READY_LIMIT_S) -> Node:
        """Wait until most Sentinels name another primary than *old*, and it says so too; return it."""
        return wait_until(lambda: self._successor(old), f"another primary than {old}", within_s)

    def _successor(self, old: Node | None) -> Node | None:
        new = self.primary()
        return new if new is not None and new is not old and new.is_primary() else None


def _conf(port: int) -> str:
    lines = (
        f"monitor {SERVICE} 127.0.0.1 {port} {_QUORUM}",
        f"down-after-milliseconds {SERVICE} 1000",
        f"failover-timeout {SERVICE} 5000",
        f"parallel-syncs {SERVICE} {_REPLICAS}",
    )
    return "".join(f"sentinel {line}\n" for line in lines)


def _linked(primary: Node) -> int:
    replication = primary.call("INFO", "replication")
    replicas = [value for name, value in replication.items() if name.startswith("slave") and isinstance(value, dict)]
    return sum(replica["state"] == "online" for replica in replicas)


def _sees_all(sentinel: Node, primary: Node) -> bool:
    """A Sentinel that still holds a replica for a primary would soon undo its promotion."""
    view = _pairs(sentinel.call("SENTINEL", "MASTER", SERVICE))
    replicas = [_pairs(words) for words in sentinel.call("SENTINEL", "REPLICAS", SERVICE)]
    return (
        (view["flags"], view["port"]) == ("master", str(primary.port))
        and int(view["num-other-sentinels"]) == _SENTINELS - 1
        and [(replica["flags"], replica["role-reported"]) for replica in replicas] == [("slave", "slave")] * _REPLICAS
    )


def _pairs(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


def _named_port(sentinel: Node) -> int | None:
    try:
        address = sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
    except RedisError:
        return None
    return int(address[1]) if address else None
