"""One server."""

from collections.abc import Mapping

from testutil.topology.node import Node
from testutil.topology.server import DataServer
from testutil.topology.topology import READY_LIMIT_S, Topology
from testutil.topology.waiting import wait_until

PERSISTENCE: Mapping[str, tuple[str, ...]] = {
    "standalone": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "always": ("--appendonly", "yes", "--appendfsync", "always"),
    "memory": ("--appendonly", "no"),
}


class Single(Topology):
    """A lone primary; its profile says what outlives its death."""

    profile = "standalone"

    @property
    def url(self) -> str:
        return f"redis://{self._node.address}/0"

    @property
    def direct_url(self) -> str:
        return self._node.url

    @property
    def _node(self) -> Node:
        return self.nodes[0]

    def start(self) -> None:
        self._add_data_node("primary", DataServer, PERSISTENCE[self.profile], "replica-announce")

    def wait_ready(self, within_s: float = READY_LIMIT_S) -> None:
        wait_until(self._node.is_alive, "the server answers", within_s)


class AlwaysSynced(Single):
    profile = "always"


class InMemory(Single):
    profile = "memory"
