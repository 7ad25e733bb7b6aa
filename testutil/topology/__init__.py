"""Real servers in the layouts that the product supports, with a fault proxy before each on request.

with start_topology("sentinel") as topology:
    old = topology.primary()
    old.kill()
    new = topology.wait_failover(old)
"""

from testutil.topology.clock import FakeClock, fake_clock, faketime_available, faketime_obstacle
from testutil.topology.cluster import ClusterTopology, slot_of
from testutil.topology.disk import fill_disk, small_disk, small_disk_obstacle
from testutil.topology.memory import squeeze_memory
from testutil.topology.node import Node
from testutil.topology.opening import Profile, open_topology, start_topology
from testutil.topology.sentinel import SentinelTopology
from testutil.topology.single import Single
from testutil.topology.slots import SlotMove, move_slot
from testutil.topology.topology import Topology

__all__ = [
    "ClusterTopology",
    "FakeClock",
    "Node",
    "Profile",
    "SentinelTopology",
    "Single",
    "SlotMove",
    "Topology",
    "fake_clock",
    "faketime_available",
    "faketime_obstacle",
    "fill_disk",
    "move_slot",
    "open_topology",
    "slot_of",
    "small_disk",
    "small_disk_obstacle",
    "squeeze_memory",
    "start_topology",
]
