"""What every topology has in common: nodes, a URL, an end."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Self

from testutil.proxy import FaultProxy
from testutil.topology.node import Node
from testutil.topology.server import DataServer, SentinelServer
from testutil.topology.setup import Setup

READY_LIMIT_S = 30.0

# repl-*: a replica notices a mute primary in 5 s, not 60, and a new one is not kept waiting for others.
_DATA_OPTIONS = (
    *("--enable-debug-command", "local"),
    *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--repl-timeout", "5"),
)


class Topology(ABC):
    """Running servers; a context manager that stops them at its end."""

    profile: ClassVar[str]

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.nodes: list[Node] = []

    @property
    @abstractmethod
    def url(self) -> str:
        """For clients; leads through the proxies, where there are any."""

    @property
    def direct_url(self) -> str:
        """Past the proxies where that is possible: Sentinels and Clusters name the proxies' ports themselves."""
        return self.url

    @property
    def data_nodes(self) -> list[Node]:
        return [node for node in self.nodes if node.kind == "data"]

    @property
    def proxies(self) -> list[FaultProxy]:
        return [node.proxy for node in self.nodes if node.proxy is not None]

    def primaries(self) -> list[Node]:
        """The nodes that call themselves primary; after a failover an old one may be among them for a while."""
        return [node for node in self.data_nodes if node.is_primary()]

    @abstractmethod
    def start(self) -> None:
        """Start every server; see `wait_ready` for when they serve."""

    @abstractmethod
    def wait_ready(self, within_s: float = READY_LIMIT_S) -> None:
        """Wait until every node is up, every replica is linked, and clients are served.

        Raises:
            TimeoutError: not within *within_s*.
        """

    def stop(self) -> None:
        """End every server and proxy; the data is removed, unless it is on a disk that was given."""
        for node in self.nodes:
            node.kill()
            node.server.stop()
        if self._setup.host is not None:
            self._setup.host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _add_data_node(
        self, name: str, server: type[DataServer], options: Sequence[str], announce: str, conf: str = ""
    ) -> Node:
        """*announce* is the prefix of the options by which a server says where others find it."""
        setup, proxy = self._setup, self._open_proxy()
        said = [] if proxy is None else [f"--{announce}-ip", "127.0.0.1", f"--{announce}-port", str(proxy.port)]
        args = [*_DATA_OPTIONS, *said, *options, *setup.extra_args]
        data_dir = setup.disk and setup.disk / name
        running = server(setup.binary, args, conf=conf, data_dir=data_dir, env=setup.env)
        return self._add(Node(name=name, kind="data", server=running, proxy=proxy))

    def _add_sentinel(self, name: str, conf: str) -> Node:
        proxy = self._open_proxy()
        return self._add(
            Node(name=name, kind="sentinel", server=SentinelServer(self._setup.binary, conf=conf), proxy=proxy)
        )

    def _open_proxy(self) -> FaultProxy | None:
        """Before the server, which must know its port; until then nobody listens behind it."""
        return self._setup.host.add(("127.0.0.1", 1)) if self._setup.host else None

    def _add(self, node: Node) -> Node:
        self.nodes.append(node)
        node.server.start()
        if node.proxy is not None:
            node.proxy.upstream = ("127.0.0.1", node.server.port)
        return node
