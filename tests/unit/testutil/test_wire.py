"""Several faults on one proxy: the end of one leaves the others as they are."""

from testutil.chaos.wire import Wire
from testutil.proxy import FaultProxy


def test_a_fault_that_ends_leaves_the_others_on_the_wire() -> None:
    proxy = FaultProxy(("127.0.0.1", 1))
    wire = Wire(proxy)

    with wire.under(lambda proxy: proxy.latency(0.25)):
        with wire.under(lambda proxy: proxy.stall()):
            assert proxy.conditions.stalled
        assert not proxy.conditions.stalled
        assert proxy.conditions.latency_s == 0.25
    assert proxy.conditions.latency_s == 0.0


def test_a_healed_wire_has_no_fault_and_gets_none_back() -> None:
    proxy = FaultProxy(("127.0.0.1", 1))
    wire = Wire(proxy)

    with wire.under(lambda proxy: proxy.latency(0.25)), wire.under(lambda proxy: proxy.refuse()):
        wire.heal()
        assert not proxy.refusing
    assert proxy.conditions.latency_s == 0.0
