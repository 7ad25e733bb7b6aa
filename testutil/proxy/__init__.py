"""A TCP proxy for Redis and Postgres that fails as networks do.

async with fault_proxy(server.url) as proxy:
    proxy.drop_reply(b"EVALSHA", after=1)   # the second one is carried out, and its reply never comes
    proxy.latency(0.05, jitter=0.02)        # until proxy.heal()
"""

from testutil.proxy.condition import Direction
from testutil.proxy.fault_proxy import Condition, FaultProxy, fault_proxy
from testutil.proxy.host import ProxyHost

__all__ = ["Condition", "Direction", "FaultProxy", "ProxyHost", "fault_proxy"]
