"""Which node a command goes to, and where it goes next."""

import pytest
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from jobqueue.broker import scripts
from jobqueue.broker.cluster import SlotMap, _Answers, _Calls, owners, slot_of
from jobqueue.broker.keys import QueueKeys
from jobqueue.errors import BrokerUnavailable

KEYS = QueueKeys.of("jq", "default")
SLOT = key_slot(KEYS.tag.encode())
A, B, C = ("10.0.0.1", 6379), ("10.0.0.2", 6379), ("10.0.0.3", 6379)


def everything_on(node: tuple[str, int]) -> SlotMap:
    slots = SlotMap([node])
    slots.learn(owners([[0, 16383, [node[0].encode(), node[1], b"id"]]], node))
    return slots


@pytest.mark.parametrize(
    "command",
    [
        scripts.STATS.command(KEYS),
        ["XREADGROUP", "GROUP", "workers", "me", "COUNT", 1, "BLOCK", 5, "STREAMS", KEYS.low, ">"],
        ["XINFO", "CONSUMERS", KEYS.low, "workers"],
        ["XACK", KEYS.low, "workers", "1-1"],
        ["GET", KEYS.result("x")],
        ["HGET", KEYS.meta.encode(), "epoch"],
    ],
)
def test_a_command_goes_to_the_slot_of_its_queue(command: list[object]) -> None:
    assert slot_of(command, None) == SLOT  # type: ignore[arg-type]


def test_a_command_without_a_key_goes_where_the_one_before_it_went() -> None:
    calls = _Calls([["GET", KEYS.meta], ["WAIT", 1, 100]], everything_on(A), None)
    assert calls._slots == [SLOT, SLOT]
    assert _Calls([["CLIENT", "ID"]], everything_on(A), KEYS.meta)._slots == [SLOT]
    assert _Calls([["TIME"]], everything_on(A), None).by_node() == {A: [0]}
    # The first ones go with the first that has a key: a queue's server is asked for its time.
    assert _Calls([["TIME"], ["GET", KEYS.meta]], everything_on(A), None)._slots == [SLOT, SLOT]


def test_moved_sends_the_command_again_with_the_wait_behind_it_and_makes_the_map_stale() -> None:
    slots = everything_on(A)
    calls = _Calls([["GET", KEYS.meta], ["WAIT", 1, 100]], slots, None)
    calls.take([0, 1], [MovedError(f"{SLOT} {B[0]}:{B[1]}"), 1])
    assert calls.redirect()
    assert calls.by_node() == {B: [0, 1]}
    assert slots.stale


def test_asking_goes_before_the_command_that_is_asked_for_and_carries_the_script() -> None:
    slots = everything_on(A)
    calls = _Calls([scripts.STATS.command(KEYS)], slots, None)
    calls.take([0], [AskError(f"{SLOT} {C[0]}:{C[1]}")])
    assert calls.redirect()
    assert calls.by_node() == {C: [0]}
    asking, command = calls.batch([0])
    assert (asking, command[:2]) == (["ASKING"], ["EVAL", scripts.STATS.source])
    calls.take([0], [b"OK", b"answer"])
    assert (calls.redirect(), calls.replies) == (False, [b"answer"])
    assert not slots.stale  # the slot has not moved yet


def test_a_wait_goes_where_its_command_was_asked_for() -> None:
    """At the owner the connection has written nothing: a WAIT there would be answered at once."""
    calls = _Calls([scripts.STATS.command(KEYS), ["WAIT", 1, 100], ["WAIT", 1, 100]], everything_on(A), None)
    calls.take([0, 1, 2], [AskError(f"{SLOT} {C[0]}:{C[1]}"), 0, 0])
    assert calls.redirect()
    assert calls.by_node() == {C: [0, 1, 2]}
    assert [each[0] for each in calls.batch([0, 1, 2])] == ["ASKING", "EVAL", "WAIT", "WAIT"]
    calls.take([0, 1, 2], [b"OK", b"answer", 1, 1])
    assert (calls.redirect(), calls.replies) == (False, [b"answer", 1, 1])


def test_a_node_that_knows_of_no_slots_is_passed_over() -> None:
    slots = SlotMap([A, B])
    answers = _Answers(slots)
    assert not answers.take([], A)
    assert answers.take([[0, 16383, [B[0].encode(), B[1], b"id"]]], B)
    assert slots.node(7) == B

    answers = _Answers(slots)
    assert not answers.take([[0, 9, [A[0].encode(), A[1], b"id"]]], A)
    assert not answers.take([], B)
    answers.settle_for_the_best("here")
    assert slots.node(7) == A
    with pytest.raises(BrokerUnavailable, match="no node of the cluster at here tells of its slots"):
        _Answers(slots).settle_for_the_best("here")


def test_a_cluster_that_is_down_is_asked_about_again() -> None:
    slots = everything_on(A)
    calls = _Calls([["GET", KEYS.meta]], slots, None)
    calls.take([0], [ClusterDownError("The cluster is down")])
    assert not calls.redirect()
    assert slots.stale


def test_a_node_that_does_not_know_its_own_name_is_called_by_the_name_it_was_asked_by() -> None:
    slots = SlotMap([A])
    slots.learn(owners([[0, 16383, [b"", 7000, b"id"]]], A))
    assert slots.node(5) == (A[0], 7000)


def test_a_slot_that_nobody_serves_is_unavailable() -> None:
    slots = SlotMap([A, B])
    slots.learn(owners([[0, 5, [A[0].encode(), A[1], b"id"]]], A))
    assert not slots.stale
    with pytest.raises(BrokerUnavailable, match="no node of the cluster serves slot 6"):
        slots.node(6)
    assert slots.stale
    assert sorted(slots.whom_to_ask()) == [A, B]
