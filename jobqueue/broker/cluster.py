"""Lines to a Redis Cluster: each command goes to the node that serves its slot, and follows the slot when it moves.

A queue is one slot, so every call of ours has one node. MOVED and ASK mean that nothing was done:
the command is sent again, where they say. TRYAGAIN and CLUSTERDOWN pass by themselves and are left to
the caller's retries, as an unreachable node is.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from jobqueue.broker.address import Address, Node
from jobqueue.broker.connection import (
    BlockingLine,
    BlockingNodeLine,
    Command,
    Line,
    NodeLine,
    NoReply,
    with_source,
)
from jobqueue.broker.dialer import Dialer, NodeDialer
from jobqueue.errors import BrokerError, BrokerUnavailable

_SLOTS: Final = 16_384
_MOST_HOPS: Final = 5
_ASK_TIMEOUT_S: Final = 1.0
_KEY_AT: Final = {"EVALSHA": 3, "EVAL": 3, "XINFO": 2, "XGROUP": 2}
_KEYLESS: Final = frozenset({"WAIT", "WAITAOF", "TIME", "INFO", "PING", "CONFIG", "CLIENT", "SLOWLOG"})


class SlotMap:
    """Which node serves which slot, as last heard. Shared by the lines of a process, its threads included."""

    def __init__(self, seeds: Sequence[Node]) -> None:
        self._seeds = tuple(seeds)
        self._owner: dict[int, Node] = {}
        self.stale = True

    @property
    def primaries(self) -> list[Node]:
        return sorted(set(self._owner.values()))

    def whom_to_ask(self) -> list[Node]:
        """Every node known, in random order: one that is away must not be asked first each time."""
        known = self.primaries
        random.shuffle(known)
        return [*known, *(seed for seed in self._seeds if seed not in known)]

    def learn(self, owner: dict[int, Node]) -> None:
        """Take over what `owners` has read."""
        self._owner = owner
        self.stale = False

    def node(self, slot: int | None) -> Node:
        """The node of a slot; of none in particular, any.

        Raises:
            BrokerUnavailable: nobody serves it.
        """
        found = next(iter(self._owner.values()), None) if slot is None else self._owner.get(slot)
        if found is None:
            self.stale = True
            raise BrokerUnavailable(f"no node of the cluster serves slot {slot} at present")
        return found

    def move(self, slot: int, node: Node) -> None:
        """A slot is served elsewhere, and others may be: the map is asked for again before the next call."""
        self._owner[slot] = node
        self.stale = True


def owners(ranges: Sequence[Any], asked: Node) -> dict[int, Node]:
    """A reply of CLUSTER SLOTS: slot → node, as the node *asked* sees it."""
    owner: dict[int, Node] = {}
    for first, last, primary, *_ in ranges:
        host = primary[0].decode() if primary[0] else ""
        node = (asked[0] if host in ("", "?") else host, int(primary[1]))
        owner.update(dict.fromkeys(range(int(first), int(last) + 1), node))
    return owner


class _Calls:
    """Commands under way, and where each has to go next."""

    def __init__(self, commands: Sequence[Command], slots: SlotMap, at: str | None) -> None:
        self._commands = commands
        self._map = slots
        self.replies: list[Any] = [None] * len(commands)
        slot = key_slot(at.encode()) if at is not None else None
        found = [slot := slot_of(command, slot) for command in commands]
        first = next((each for each in found if each is not None), None)
        self._slots = [first if each is None else each for each in found]
        self._asking: dict[int, Node] = {}
        self._beside: dict[int, Node] = {}
        self._left = list(range(len(commands)))

    def by_node(self) -> dict[Node, list[int]]:
        """What is to be sent, by node: ordinals."""
        groups: dict[Node, list[int]] = {}
        for n in self._left:
            node = self._asking.get(n) or self._beside.get(n) or self._map.node(self._slots[n])
            groups.setdefault(node, []).append(n)
        return groups

    def batch(self, ordinals: Sequence[int]) -> list[Command]:
        batch: list[Command] = []
        for n in ordinals:
            if n in self._asking:
                # ASKING holds for one command: a script that is not known there would be asked for in vain.
                batch += [["ASKING"], with_source(self._commands[n])]
            else:
                batch.append(self._commands[n])
        return batch

    def take(self, ordinals: Sequence[int], replies: list[Any]) -> None:
        """Note the replies to a batch, less those to ASKING."""
        answers = iter(replies)
        for n in ordinals:
            if n in self._asking:
                next(answers)
            self.replies[n] = next(answers)

    def redirect(self) -> bool:
        """Find what has to be sent again. False: every reply is final."""
        sent, self._left, self._asking, self._beside = self._left, [], {}, {}
        for n in sent:
            reply, follows = self.replies[n], self._left[-1:] == [n - 1] and self._commands[n][0] in _KEYLESS
            if isinstance(reply, MovedError):
                self._map.move(reply.slot_id, (reply.host or self._map.node(self._slots[n])[0], reply.port))
                self._left.append(n)
            elif isinstance(reply, AskError):
                self._asking[n] = (reply.host, reply.port)
                self._left.append(n)
            elif isinstance(reply, ClusterDownError):
                self._map.stale = True
            elif follows:
                # It concerns the one before it: a WAIT elsewhere would tell of nothing.
                if node := self._asking.get(n - 1) or self._beside.get(n - 1):
                    self._beside[n] = node
                self._left.append(n)
        return bool(self._left)


def slot_of(command: Command, before: int | None) -> int | None:
    """The slot of a command's first key; a command without one goes where the one *before* went, the first ones
    where the first with a key goes."""
    name = command[0]
    if name in _KEYLESS:
        return before
    at = command.index("STREAMS") + 1 if name == "XREADGROUP" else _KEY_AT.get(str(name), 1)
    key = command[at]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


class ClusterDialer(Dialer):
    """To the nodes of a cluster, and to those that join it."""

    one_slot_reads = True

    def __init__(self, address: Address, *, timeout_s: float, client_name: str) -> None:
        super().__init__(address, timeout_s=timeout_s, client_name=client_name)
        self._client_name = client_name
        self._nodes: dict[Node, NodeDialer] = {}
        self.map = SlotMap(address.nodes)
        self.node(address.nodes[0])  # a URL that is wrong is refused now

    def node(self, node: Node) -> NodeDialer:
        dialer = self._nodes.get(node)
        if dialer is None:
            dialer = self._nodes[node] = NodeDialer(
                self.address, timeout_s=self.timeout_s, client_name=self._client_name, node=node
            )
        return dialer

    def line(self) -> "ClusterLine":
        return ClusterLine(self)

    def blocking_line(self, timeout_s: float) -> "BlockingClusterLine":
        return BlockingClusterLine(self, timeout_s)

    async def every_node(self) -> list[Line]:
        await self.ask()
        return [self.node(node).line() for node in self.map.primaries]

    async def ask(self) -> None:
        """Learn who serves what.

        Raises:
            BrokerUnavailable: no node knows of any.
        """
        answers = _Answers(self.map)
        for node in self.map.whom_to_ask():
            line = self.node(node).line()
            try:
                if answers.take(await line.call(["CLUSTER", "SLOTS"], timeout_s=_ASK_TIMEOUT_S), node):
                    return
            except BrokerError as error:
                answers.failure = error
            finally:
                await line.close()
        answers.settle_for_the_best(self.where)

    def ask_blocking(self, timeout_s: float) -> None:
        """As `ask`, from a thread."""
        answers = _Answers(self.map)
        for node in self.map.whom_to_ask():
            line = self.node(node).blocking_line(min(timeout_s, _ASK_TIMEOUT_S))
            try:
                (ranges,) = line.call_each([["CLUSTER", "SLOTS"]])
                if answers.take(ranges, node):
                    return
            except BrokerError as error:
                answers.failure = error
            finally:
                line.close()
        answers.settle_for_the_best(self.where)


class _Answers:
    """What nodes say of the slots, until one knows them all. One that was reset, or is new, knows of none."""

    def __init__(self, slots: SlotMap) -> None:
        self._map = slots
        self._best: dict[int, Node] = {}
        self.failure: Exception | None = None

    def take(self, ranges: Sequence[Any], asked: Node) -> bool:
        """Whether this is the whole map; it is taken over then."""
        self._best = max(self._best, owners(ranges, asked), key=len)
        whole = len(self._best) == _SLOTS
        if whole:
            self._map.learn(self._best)
        return whole

    def settle_for_the_best(self, where: str) -> None:
        if not self._best:
            why = f": {self.failure}" if self.failure is not None else ""
            raise BrokerUnavailable(f"no node of the cluster at {where} tells of its slots{why}") from self.failure
        self._map.learn(self._best)


class ClusterLine(Line):
    """A line to each node that is needed, opened when it is."""

    def __init__(self, dialer: ClusterDialer) -> None:
        super().__init__(dialer.where)
        self._dialer = dialer
        self._map = dialer.map
        self._lines: dict[Node, NodeLine] = {}

    async def exchange(
        self, commands: Sequence[Command], *, at: str | None = None, timeout_s: float | None = None
    ) -> list[Any]:
        if self._map.stale:
            await self._dialer.ask()
        calls = _Calls(commands, self._map, at)
        for _ in range(_MOST_HOPS):
            await self._send(calls, timeout_s)
            if not calls.redirect():
                break
        return calls.replies

    async def _send(self, calls: _Calls, timeout_s: float | None) -> None:
        groups = calls.by_node()
        sends = [self._ask_node(node, calls.batch(group), timeout_s) for node, group in groups.items()]
        answers = [await sends[0]] if len(sends) == 1 else await _together(sends)
        for group, answer in zip(groups.values(), answers, strict=True):
            calls.take(group, answer)

    async def _ask_node(self, node: Node, batch: Sequence[Command], timeout_s: float | None) -> list[Any]:
        try:
            return await self._line(node).exchange(batch, timeout_s=timeout_s)
        except BrokerUnavailable:
            self._map.stale = True
            raise

    def _line(self, node: Node) -> NodeLine:
        line = self._lines.get(node)
        if line is None:
            line = self._lines[node] = self._dialer.node(node).line()
        return line

    @property
    def reopened(self) -> int:
        return max(0, sum(line.opened for line in self._lines.values()) - 1)

    async def close(self) -> None:
        for line in self._lines.values():
            await line.close()


async def _together(sends: Sequence[Coroutine[Any, Any, list[Any]]]) -> list[list[Any]]:
    answers: list[list[Any]] = []
    for answer in await asyncio.gather(*sends, return_exceptions=True):
        if isinstance(answer, BrokerUnavailable):
            raise NoReply(str(answer)) from answer  # the other nodes have done their part
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers


class BlockingClusterLine(BlockingLine):
    """As `ClusterLine`, for a thread; it asks one node after the other."""

    def __init__(self, dialer: ClusterDialer, timeout_s: float) -> None:
        super().__init__(dialer.where)
        self._dialer = dialer
        self._timeout_s = timeout_s
        self._lines: dict[Node, BlockingNodeLine] = {}

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        if self._dialer.map.stale:
            self._dialer.ask_blocking(self._timeout_s)
        calls = _Calls(commands, self._dialer.map, None)
        for _ in range(_MOST_HOPS):
            for node, group in calls.by_node().items():
                calls.take(group, self._ask_node(node, calls.batch(group)))
            if not calls.redirect():
                break
        return calls.replies

    def _ask_node(self, node: Node, batch: Sequence[Command]) -> list[Any]:
        line = self._lines.get(node)
        if line is None:
            line = self._lines[node] = self._dialer.node(node).blocking_line(self._timeout_s)
        try:
            return line.exchange(batch)
        except BrokerUnavailable:
            self._dialer.map.stale = True
            raise

    def close(self) -> None:
        for line in list(self._lines.values()):
            line.close()
