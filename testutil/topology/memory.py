"""A server that is about to run out of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from testutil.topology.node import Node


@contextmanager
def squeeze_memory(node: Node, spare_bytes: int) -> Iterator[None]:
    """Let *node* use *spare_bytes* more than now, and evict nothing: then it refuses what needs memory."""
    limit, policy = (_setting(node, name) for name in ("maxmemory", "maxmemory-policy"))
    memory = node.call("INFO", "memory")
    used = memory["used_memory"] - memory["mem_not_counted_for_evict"]
    node.call("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", used + spare_bytes)
    try:
        yield
    finally:
        node.call("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", limit)


def _setting(node: Node, name: str) -> str:
    reply = node.call("CONFIG", "GET", name)
    return str(reply[name] if isinstance(reply, dict) else reply[1])
