"""Moving a slot between two nodes of a cluster, in steps: what lies between them is what clients must bear.

with SlotMove(cluster, slot, target) as move:   # from here on, clients may be sent to ASK
    move.take(key)                              # this key is at the target, the others are not: TRYAGAIN
"""

import time
from types import TracebackType
from typing import Self

from testutil.topology.cluster import ClusterTopology, slot_of
from testutil.topology.node import Node
from testutil.topology.waiting import wait_until

_LIMIT_S = 30.0
_MIGRATE_LIMIT_MS = 5000
_BATCH = 100


def move_slot(cluster: ClusterTopology, slot: int, target: Node) -> Node:
    """Move *slot* with its keys to *target* at once; return the node that had it."""
    with SlotMove(cluster, slot, target) as move:
        return move.source


class SlotMove:
    """A context manager: the move begins with it; its end takes the keys that are left, and gives *target* the slot.

    Clients are sent to *target* with ASK for keys that are there already or nowhere, and hear TRYAGAIN when a
    command names several keys that are not all at one place.
    """

    def __init__(self, cluster: ClusterTopology, slot: int, target: Node) -> None:
        self._cluster = cluster
        self.slot = slot
        self.source = cluster.owner(slot)
        self.target = target

    def __enter__(self) -> Self:
        self._set(self.target, "IMPORTING", self._cluster.id_of(self.source))
        self._set(self.source, "MIGRATING", self._cluster.id_of(self.target))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()

    def keys(self) -> list[str]:
        """Up to 100 of those that the source still has."""
        keys: list[str] = self.source.call("CLUSTER", "GETKEYSINSLOT", self.slot, _BATCH)
        return keys

    def take(self, *keys: str) -> None:
        """Move these to the target; what is not at the source, or expires meanwhile, is passed over."""
        for key in keys:
            assert slot_of(key) == self.slot, f"{key} is in slot {slot_of(key)}, not in {self.slot}"
            self.source.call("MIGRATE", "127.0.0.1", self.target.server.port, key, 0, _MIGRATE_LIMIT_MS)

    def finish(self) -> None:
        """Move what is left, give the target the slot, and wait until every node says so."""
        deadline = time.monotonic() + _LIMIT_S
        while keys := self.keys():
            self.take(*keys)
            if time.monotonic() > deadline:
                raise TimeoutError(f"slot {self.slot} was not empty within {_LIMIT_S:g} s")
        # The target first: while the source still has the slot, nobody is sent to a node that disowns it.
        for node in (self.target, self.source):
            self._set(node, "NODE", self._cluster.id_of(self.target))
        wait_until(self._is_known, f"every node knows that {self.target} owns slot {self.slot}", _LIMIT_S)

    def _set(self, node: Node, state: str, node_id: str) -> None:
        node.call("CLUSTER", "SETSLOT", self.slot, state, node_id)

    def _is_known(self) -> bool:
        return all(self._owner_port(node) == self.target.port for node in self._cluster.nodes)

    def _owner_port(self, node: Node) -> int | None:
        shards = node.call("CLUSTER", "SLOTS")
        return next((owner[1] for first, last, owner, *_ in shards if first <= self.slot <= last), None)
