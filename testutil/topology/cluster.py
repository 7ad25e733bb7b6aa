"""Three primaries, each with a third of the slots, and replicas on request."""

from redis.crc import key_slot

from testutil.topology.node import Node
from testutil.topology.server import ClusterServer
from testutil.topology.setup import Setup
from testutil.topology.single import PERSISTENCE
from testutil.topology.table import Table
from testutil.topology.topology import READY_LIMIT_S, Topology
from testutil.topology.waiting import wait_until

SLOTS = 16384
_PRIMARIES = 3
_OPTIONS = ("--cluster-node-timeout", "2000", "--cluster-allow-replica-migration", "no")


class ClusterTopology(Topology):
    """Node timeout 2 s; nodes gossip directly, and replicate and redirect where clients connect."""

    profile = "cluster"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._ids: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.address for node in self.nodes[:_PRIMARIES])}"

    def start(self) -> None:
        for number in range(1, 1 + _PRIMARIES * (1 + self._setup.replicas)):
            options = [*PERSISTENCE["standalone"], *_OPTIONS]
            node = self._add_data_node(f"node-{number}", ClusterServer, options, "cluster-announce")
            self._ids[node.name] = str(node.call("CLUSTER", "MYID"))
        self._deal_slots()
        self._introduce()
        self._assign_replicas()

    def _deal_slots(self) -> None:
        bounds = [SLOTS * share // _PRIMARIES for share in range(_PRIMARIES + 1)]
        for epoch, node in enumerate(self.nodes, start=1):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node, first, end in zip(self.nodes, bounds, bounds[1:], strict=False):
            node.call("CLUSTER", "ADDSLOTSRANGE", first, end - 1)

    def _introduce(self) -> None:
        """Each meets each, which is faster than waiting for gossip."""
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.call("CLUSTER", "MEET", "127.0.0.1", other.port, other.server.bus_port)
        wait_until(lambda: all(self._knows_all(node) for node in self.nodes), "nodes know each other", READY_LIMIT_S)

    def _knows_all(self, node: Node) -> bool:
        table = Table.of(node)
        return len(table.lines) == len(self.nodes) and not table.has_flag("handshake")

    def _assign_replicas(self) -> None:
        for index, replica in enumerate(self.nodes[_PRIMARIES:]):
            replica.call("CLUSTER", "REPLICATE", self.id_of(self.nodes[index % _PRIMARIES]))

    def wait_ready(self, within_s: float = READY_LIMIT_S) -> None:
        wait_until(self._is_ready, "every node sees every slot served and every replica linked", within_s)

    def _is_ready(self) -> bool:
        maps = [_slot_map(node) for node in self.nodes]
        tables = [Table.of(node) for node in self.nodes]
        return (
            len(set(maps)) == 1
            and all(len(ports) == 1 + self._setup.replicas for *_, ports in maps[0])
            and not any(table.has_flag("fail") or table.has_flag("fail?") for table in tables)
            and all("cluster_state:ok" in node.call("CLUSTER", "INFO") for node in self.nodes)
            and all(_is_linked(node) for node in self.nodes)
        )

    def primary_of(self, key: str) -> Node:
        """The node that owns *key*'s slot; raises as `owner`."""
        return self.owner(slot_of(key))

    def owner(self, slot: int) -> Node:
        """The node that says that *slot* is its own.

        Raises:
            LookupError: none that answers says so.
        """
        for node in self.primaries():
            if any(first <= slot <= last for first, last in Table.of(node).own_slots):
                return node
        raise LookupError(f"no node that answers owns slot {slot}")

    def id_of(self, node: Node) -> str:
        """Its name in the cluster, which outlives restarts."""
        return self._ids[node.name]

    def replicas_of(self, primary: Node) -> list[Node]:
        """The other nodes of *primary*'s shard, whatever they say themselves."""
        first = self.nodes.index(primary) % _PRIMARIES
        return [node for node in self.nodes[first::_PRIMARIES] if node is not primary]

    def failover(self, primary: Node, *how: str, within_s: float = READY_LIMIT_S) -> Node:
        """Promote a replica of *primary* and return it; *how* may be FORCE or TAKEOVER, when the primary is away."""
        self.replicas_of(primary)[0].call("CLUSTER", "FAILOVER", *how)
        return self.wait_failover(primary, within_s)

    def wait_failover(self, old: Node, within_s: float = READY_LIMIT_S) -> Node:
        """Wait until a replica of *old* is primary, and no other node that answers gives *old* a slot; return it.

        Raises:
            TimeoutError: not within *within_s*.
        """
        old_id = self.id_of(old)

        def find() -> Node | None:
            others = [node for node in self.nodes if node is not old and node.is_alive()]
            if any(Table.of(node).owns_slots(old_id) for node in others):
                return None
            return next((node for node in self.replicas_of(old) if node.is_primary()), None)

        return wait_until(find, f"a replica takes the place of {old}", within_s)


def slot_of(key: str) -> int:
    return int(key_slot(key.encode()))


def _slot_map(node: Node) -> frozenset[tuple[int, int, frozenset[int]]]:
    """What it tells clients: first slot, last slot, and the ports of who serves them."""
    shards = node.call("CLUSTER", "SLOTS")
    return frozenset((first, last, frozenset(port for _, port, *_ in servers)) for first, last, *servers in shards)


def _is_linked(node: Node) -> bool:
    role = node.call("ROLE")
    return role[0] == "master" or role[3] == "connected"
