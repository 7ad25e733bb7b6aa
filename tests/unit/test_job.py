import copy
import dataclasses
import itertools
import json
import math
import pickle
import string
import time
import uuid
from collections import OrderedDict, UserDict
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobqueue.errors import InvalidJob
from jobqueue.job import (
    HARD_MAX_PAYLOAD_BYTES,
    MAX_DEPTH,
    MAX_DURATION,
    MAX_HEADERS_BYTES,
    MAX_KEY_CHARS,
    MAX_PAYLOAD_BYTES,
    PRIORITIES,
    Job,
    Priority,
    canonical_id,
    check_key,
    check_name,
    check_payload,
    decode_envelope,
    encode_payload,
    new_id,
)

AN_ID = "01980f2e-5b7a-7c3d-9e4f-0123456789ab"
NAME_BEGINS = set(string.ascii_letters + string.digits)
NAME_CHARS = NAME_BEGINS | set("_.:-")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
payloads = st.dictionaries(st.text(), json_values, max_size=5)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")
whole_ms = st.integers(min_value=1, max_value=MAX_DURATION // timedelta(milliseconds=1)).map(
    lambda ms: timedelta(milliseconds=ms)
)


def read(body: bytes, *, id: str = AN_ID, **place: Any) -> Job:
    return Job.from_wire(body, id=id, **{"queue": "default", "priority": Priority.MEDIUM, **place})


def body(**fields: object) -> bytes:
    return json.dumps({"v": 1, "type": "email.send", "payload": {}, **fields}).encode()


# Names


@given(names)
def test_a_name_of_allowed_characters_is_accepted(name: str) -> None:
    assert check_name("queue", name) == name
    assert Job(name, queue=name).queue == name


@given(st.text(max_size=70) | st.text(alphabet="aZ0_.:-{}*?[]\r\n\0 /\\", max_size=70))
@example("a}b{c")
@example("a\n")
@example("٣")
def test_a_name_is_accepted_only_by_the_rule(name: str) -> None:
    allowed = 1 <= len(name) <= 64 and name[0] in NAME_BEGINS and set(name) <= NAME_CHARS

    both: list[dict[str, Any]] = [{"type": name}, {"type": "t", "queue": name}]

    for options in both:
        with nullcontext() if allowed else pytest.raises(InvalidJob):
            Job(**options)


BAD_NAMES: list[Any] = [
    "",
    "a}b{c",
    "{}",
    "*",
    "a*",
    "a?",
    "[a]",
    "a\r\nb",
    "a\n",
    "\na",
    "a\0",
    "a b",
    ".a",
    "-a",
    ":a",
]
BAD_NAMES += ["_a", "é", "a/b", "a" * 65, "a" * 1_000_000, None, 5, b"a", ["a"], True]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:20])
def test_a_name_that_could_break_a_key_is_refused_with_the_rule(name: Any) -> None:
    with pytest.raises(InvalidJob, match=r"queue name must be 1 to 64 of A-Z a-z 0-9 _ \. : -") as caught:
        Job("t", queue=name)
    with pytest.raises(InvalidJob, match=r"task name must be"):
        Job(name)

    assert len(str(caught.value)) < 250


# Priorities


@pytest.mark.parametrize(
    ("given", "priority"),
    [
        *((each, each) for each in Priority),
        *((each.value, each) for each in Priority),
        *((number, Priority.LOW) for number in (0, 1, 2)),
        *((number, Priority.MEDIUM) for number in (3, 4, 5)),
        *((number, Priority.HIGH) for number in (6, 7)),
        *((number, Priority.CRITICAL) for number in (8, 9)),
    ],
)
def test_a_priority_is_a_name_or_a_number_to_nine(given: Any, priority: Priority) -> None:
    assert Priority.parse(given) is priority
    assert Job("t", priority=given).priority is priority


@pytest.mark.parametrize(
    "given",
    [-1, 10, 10**5000, True, False, 5.0, math.nan, "HIGH", "urgent", "5", "", None, [], b"high", object()],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_priority_is_refused(given: Any) -> None:
    with pytest.raises(InvalidJob, match="priority must be critical, high, medium, low or a number 0 to 9, got"):
        Job("t", priority=given)


def test_priorities_rank_from_critical_to_low() -> None:
    assert [priority.rank for priority in PRIORITIES] == [0, 1, 2, 3]
    assert [priority.value for priority in PRIORITIES] == ["critical", "high", "medium", "low"]


# Options


def test_a_job_has_plain_defaults() -> None:
    job = Job("email.send")

    assert (job.queue, job.priority, job.payload) == ("default", Priority.MEDIUM, {})
    assert [job.max_retries, job.timeout, job.expires, job.unique_key, job.result_ttl] == [None] * 5
    assert job.headers == {}


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_max_retries_goes_from_none_to_a_thousand(count: int) -> None:
    assert Job("t", max_retries=count).max_retries == count


@pytest.mark.parametrize(
    "count", [-1, 1001, 10**5000, True, 3.0, "3", math.inf], ids=lambda count: type(count).__name__
)
def test_max_retries_is_a_whole_number_in_its_range(count: Any) -> None:
    with pytest.raises(InvalidJob, match="max_retries must be a whole number from 0 to 1000, got"):
        Job("t", max_retries=count)


@pytest.mark.parametrize("option", ["timeout", "expires", "result_ttl"])
@pytest.mark.parametrize("value", [5, 5.0, "5s", True, datetime.now(UTC), date(2026, 1, 1)])
def test_a_duration_that_is_no_timedelta_is_a_type_error(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"{option} must be a timedelta such as timedelta\(seconds=30\), got"):
        Job("t", **{option: value})


@pytest.mark.parametrize("option", ["timeout", "expires", "result_ttl"])
@pytest.mark.parametrize(
    "value",
    [
        timedelta(0),
        timedelta(microseconds=999),
        timedelta(seconds=-1),
        MAX_DURATION + timedelta(seconds=1),
        timedelta.max,
    ],
)
def test_a_duration_out_of_its_range_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=rf"{option} must be from 1 ms to 3650 days, got"):
        Job("t", **{option: value})


@pytest.mark.parametrize("value", [timedelta(milliseconds=1), MAX_DURATION])
def test_a_duration_at_the_edge_of_its_range_is_taken(value: timedelta) -> None:
    job = Job("t", timeout=value, expires=value, result_ttl=value)

    assert job.timeout == job.expires == job.result_ttl == value


@pytest.mark.parametrize("key", ["order-17", "a", "x" * MAX_KEY_CHARS, "Größe:{1}*", None])
def test_a_key_is_printable_text(key: str | None) -> None:
    assert Job("t", unique_key=key).unique_key == check_key("key", key) == key


@pytest.mark.parametrize(
    "key",
    ["", "x" * (MAX_KEY_CHARS + 1), "a b", "a\n", "\0", "\ud800", "\u00a0", "\u202e", 17, b"k", True],
    ids=lambda key: repr(key)[:20],
)
def test_a_key_that_is_not_printable_text_is_refused(key: Any) -> None:
    with pytest.raises(InvalidJob, match="unique_key must be 1 to 200 printable characters without blanks"):
        Job("t", unique_key=key)


# Headers


def test_headers_travel_along() -> None:
    job = Job("t", headers={"traceparent": "00-ab", "sprache": "español"})

    assert read(job.to_wire()).headers == {"traceparent": "00-ab", "sprache": "español"}


@pytest.mark.parametrize("headers", [{}, None])
def test_no_headers_are_an_empty_mapping_and_leave_the_wire_alone(headers: dict[str, str] | None) -> None:
    job = Job("t", headers=headers)

    assert job.headers == {}
    assert b"headers" not in job.to_wire()


@pytest.mark.parametrize(
    "headers",
    [{1: "a"}, {"a": 1}, {"a": None}, {"a": b"b"}, {"a": "\ud800"}, {"\ud800": "a"}, [("a", "b")], "ab", 0, ["a"]],
    ids=ascii,
)
def test_headers_that_do_not_map_text_to_text_are_refused(headers: Any) -> None:
    """A list of pairs was an AttributeError, a lone surrogate broke `to_wire` much later."""
    with pytest.raises(InvalidJob, match=r"headers must (be a mapping of|map) text to text, got"):
        Job("t", headers=headers)


@pytest.mark.parametrize("value", ["x" * (MAX_HEADERS_BYTES - 1), "é" * ((MAX_HEADERS_BYTES - 1) // 2)])
def test_headers_have_a_limit_in_bytes(value: str) -> None:
    Job("t", headers={"h": value})

    with pytest.raises(InvalidJob, match=r"headers hold \d+ bytes; the limit is 8192"):
        Job("t", headers={"h": value + "éé"})


# Payloads


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


@dataclasses.dataclass
class Point:
    x: float
    y: float


class Struct(msgspec.Struct):
    x: float


class Address(pydantic.BaseModel):
    street: str
    since: date
    rate: Decimal = Decimal("1.10")


ENCODES = [
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    (date(2026, 1, 2), "2026-01-02"),
    (timedelta(seconds=90), "PT90S"),
    (Decimal("1.10"), "1.10"),
    (uuid.UUID(AN_ID), AN_ID),
    (Colour.RED, "red"),
    (Size.BIG, 3),
    (Point(1.5, 2), {"x": 1.5, "y": 2}),
    (Struct(1.5), {"x": 1.5}),
    (
        Address(street="Calle Mayor", since=date(2020, 1, 1)),
        {"street": "Calle Mayor", "since": "2020-01-01", "rate": "1.10"},
    ),
    ([Address(street="s", since=date(2020, 1, 1))], [{"street": "s", "since": "2020-01-01", "rate": "1.10"}]),
    ((1, 2), [1, 2]),
    ({7}, [7]),
    (b"abc", "YWJj"),
    (MappingProxyType({"a": 1}), {"a": 1}),
    (UserDict({"a": Point(1, 2)}), {"a": {"x": 1, "y": 2}}),
    ({7: "a"}, {"7": "a"}),
    ({uuid.UUID(AN_ID): "a"}, {AN_ID: "a"}),
]


@pytest.mark.parametrize(("value", "plain"), ENCODES, ids=lambda value: type(value).__name__)
def test_rich_values_have_a_json_form(value: object, plain: object) -> None:
    assert Job("t", {"value": value}).payload == {"value": plain}


@pytest.mark.parametrize("kind", [dict, OrderedDict, UserDict, MappingProxyType])
def test_a_payload_may_be_any_mapping(kind: Callable[[dict[str, int]], Any]) -> None:
    """Only a dict was; the others were told to have no JSON form."""
    assert Job("t", kind({"a": 1})).payload == {"a": 1}


@pytest.mark.parametrize("payload", [[], [("a", 1)], "text", b"{}", 5, True, {"a"}, object(), Point(1, 2)])
def test_a_payload_that_is_no_mapping_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidJob, match="payload of 't' must be a mapping of arguments by name, got"):
        Job("t", payload)


@pytest.mark.parametrize("key", [1, None, True, 1.5, b"a", (1,), Size.BIG], ids=repr)
def test_arguments_are_named_by_text(key: Any) -> None:
    with pytest.raises(InvalidJob, match="payload of 't' must have text keys, got"):
        Job("t", {"fine": 1, key: 1})


def nested(depth: int, kind: str) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if kind == "list" or (kind == "both" and level % 2) else {"a": value}
    return value


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Unprintable(),
        print,
        Point,
        Address,
        1j,
        iter([]),
        "\ud800",
        {"\ud800": 1},
        {None: 1},
        {(1,): 1},
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_a_json_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidJob, match="payload of 't' is not JSON"):
        Job("t", {"value": value})


@pytest.mark.parametrize("payload", [Unprintable(), {Unprintable(): 1}])
def test_what_cannot_even_be_shown_is_refused_politely(payload: Any) -> None:
    with pytest.raises(InvalidJob, match="a value of type Unprintable"):
        Job("t", payload)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad: bad,
        lambda bad: [1, [bad]],
        lambda bad: ({"a": (bad,)},),
        lambda bad: {bad},
        lambda bad: Point(1, bad),
        lambda bad: Struct(bad),
        lambda bad: [pydantic.create_model("Model", x=(float, ...))(x=bad)],
        lambda bad: UserDict({"a": bad}),
    ],
    ids=["plain", "list", "tuple", "set", "dataclass", "struct", "model", "mapping"],
)
def test_nan_and_infinities_are_refused_wherever_they_hide(bad: float, wrap: Callable[[float], object]) -> None:
    """Inside a dataclass or a model they became null without a word."""
    with pytest.raises(InvalidJob, match="holds NaN or an infinity, which JSON cannot say"):
        Job("t", {"value": wrap(bad), "nothing": None})


def test_none_is_no_nan() -> None:
    payload = {"a": None, "b": [None, {"c": None}], "d": "null", "e": 1.5}

    assert Job("t", payload).payload == payload


@pytest.mark.parametrize(
    "value",
    [object(), Unprintable(), 10**5000, {(1,): 2}, nested(800, "list"), nested(5000, "dict")],
    ids=lambda value: type(value).__name__,
)
def test_what_somebody_else_has_encoded_is_checked_as_far_as_it_is_understood(value: object) -> None:
    assert check_payload("t", b'{"a":null}', {"a": None, "b": value}) == b'{"a":null}'
    assert Job("t", queue="mail").another(b'{"a":null}').payload == {"a": None}


@pytest.mark.parametrize("kind", ["list", "dict", "both"])
def test_a_payload_is_nested_at_most_64_levels(kind: str) -> None:
    assert Job("t", {"a": nested(MAX_DEPTH - 1, kind)}).payload == {"a": nested(MAX_DEPTH - 1, kind)}

    with pytest.raises(InvalidJob, match="nested deeper than 64 levels"):
        Job("t", {"a": nested(MAX_DEPTH, kind)})


@pytest.mark.parametrize(
    "payload",
    [
        {"rows": [{"a": [index]} for index in range(200)]},
        {"text": '["{' * 100},
        {"text": '\\"[{' * 100, '[{"\\' * 100: "]}" * 100},
        {"text": "\\" * 101, "more": ["["] * 100},
    ],
)
def test_many_brackets_are_not_depth(payload: dict[str, Any]) -> None:
    assert Job("t", payload).payload == payload


@given(payloads)
def test_depth_is_measured_as_by_a_parser(payload: dict[str, Any]) -> None:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    deep = payload
    for _ in range(MAX_DEPTH - depth(payload)):
        deep = {"a": deep}

    assert Job("t", deep).payload == deep
    with pytest.raises(InvalidJob, match="nested deeper"):
        Job("t", {"a": deep})


@pytest.mark.parametrize("bomb", ["endless list", "endless dict", "deep"])
def test_a_bomb_is_refused_and_does_not_crash(bomb: str) -> None:
    value: Any = {} if bomb == "endless dict" else []
    if bomb == "endless list":
        value.append(value)
    elif bomb == "endless dict":
        value["a"] = value
    else:
        for _ in range(100_000):
            value = [value]

    with pytest.raises(InvalidJob, match="not JSON"):
        Job("t", {"a": value})


def test_a_payload_has_a_size_limit() -> None:
    room = MAX_PAYLOAD_BYTES - len('{"a":""}')

    assert len(Job("t", {"a": "x" * room}).payload_json) == MAX_PAYLOAD_BYTES

    with pytest.raises(
        InvalidJob, match=r"payload of 't' is 262145 bytes; the limit is 262144: store the data elsewhere"
    ):
        Job("t", {"a": "x" * (room + 1)})


def test_the_size_is_that_of_the_bytes() -> None:
    with pytest.raises(InvalidJob, match="bytes; the limit is"):
        Job("t", {"a": "é" * (MAX_PAYLOAD_BYTES // 2)})


def test_the_limit_can_be_raised_to_the_hard_one() -> None:
    payload = {"a": "x" * MAX_PAYLOAD_BYTES}

    assert len(encode_payload("t", payload, limit=HARD_MAX_PAYLOAD_BYTES)) > MAX_PAYLOAD_BYTES


# Immutability


def test_changing_the_mapping_afterwards_changes_nothing() -> None:
    payload: dict[str, Any] = {"to": ["ada"]}
    headers = {"a": "b"}
    job = Job("t", payload, headers=headers)

    payload["to"].append("eve")
    payload["more"] = 1
    headers["a"] = "changed"

    assert job.payload == {"to": ["ada"]}
    assert job.headers == {"a": "b"}


def test_changing_the_payload_that_was_handed_out_changes_nothing() -> None:
    job = Job("t", {"to": ["ada"]})

    job.payload["to"].append("eve")

    assert job.payload == {"to": ["ada"]}


@pytest.mark.parametrize("job", [Job("t", headers={"a": "b"}), Job("t"), read(body(headers={"a": "b"})), read(body())])
def test_headers_cannot_be_changed(job: Job) -> None:
    with pytest.raises(TypeError):
        job.headers["a"] = "changed"  # type: ignore[index]


@pytest.mark.parametrize("name", ["type", "queue", "payload", "payload_json", "id", "priority", "unknown"])
def test_a_job_cannot_be_changed(name: str) -> None:
    job = Job("t")

    with pytest.raises(AttributeError, match=rf"a Job is immutable; use job.replace\({name}=...\)"):
        setattr(job, name, "changed")
    with pytest.raises(AttributeError, match="immutable"):
        delattr(job, name)


def test_a_job_equals_its_copies_and_no_other() -> None:
    job = Job("t", {"a": 1}, expires=timedelta(seconds=5), unique_key="k", headers={"a": "b"})

    for twin in (copy.copy(job), copy.deepcopy(job), pickle.loads(pickle.dumps(job)), job.replace()):
        assert twin == job
        assert hash(twin) == hash(job)
    assert job != Job("t", {"a": 1})
    assert job != job.replace(queue="other")
    assert job != "job"


def test_its_repr_does_not_show_the_payload() -> None:
    assert repr(Job("t", {"password": "hunter2"}, id=AN_ID)) == (
        f"Job('t', id='{AN_ID}', queue='default', priority='medium')"
    )


# Ids


def test_a_new_id_is_a_canonical_uuid_version_7() -> None:
    for text in (new_id() for _ in range(200)):
        parsed = uuid.UUID(text)

        assert str(parsed) == text
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122


def test_a_new_id_holds_the_time_in_ms() -> None:
    before = time.time_ns() // 1_000_000
    value = uuid.UUID(new_id()).int
    after = time.time_ns() // 1_000_000

    assert before <= value >> 80 <= after


def test_new_ids_sort_by_the_time_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(time.time_ns(), 1_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))

    ids = [new_id() for _ in range(1000)]

    assert ids == sorted(ids)


def test_new_ids_of_one_instant_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_767_225_600_000_000_000)

    ids = {new_id() for _ in range(10_000)}

    assert len(ids) == 10_000
    assert all(Job("t", id=each).created_ms == 1_767_225_600_000 for each in itertools.islice(ids, 10))


@pytest.mark.parametrize("id", [AN_ID, AN_ID.upper(), "{" + AN_ID + "}", f"urn:uuid:{AN_ID}", AN_ID.replace("-", "")])
def test_an_own_id_is_taken_in_its_canonical_form(id: str) -> None:
    assert Job("t", id=id).id == canonical_id(id) == AN_ID
    assert Job("t", id=uuid.UUID(id)).id == AN_ID


@pytest.mark.parametrize(
    "id",
    [
        "",
        "17",
        "order-17",
        AN_ID + "0",
        AN_ID[:-1],
        "x" * 32,
        "a" * 1_000_000,
        17,
        0,
        b"x" * 16,
        AN_ID.encode(),
        [],
        True,
    ],
    ids=lambda id: repr(id)[:20],
)
def test_an_own_id_that_is_no_uuid_is_refused(id: Any) -> None:
    with pytest.raises(InvalidJob, match="job id must be a UUID such as") as caught:
        Job("t", id=id)

    assert len(str(caught.value)) < 250


@given(st.uuids())
def test_any_uuid_is_an_id_and_comes_back(own: uuid.UUID) -> None:
    job = Job("t", id=own)

    assert read(job.to_wire(), id=job.id) == job
    assert job.created_at.tzinfo is UTC


def test_a_job_knows_when_it_was_made() -> None:
    job, foreign = Job("t"), Job("t", id=uuid.uuid4())

    assert job.created_ms == uuid.UUID(job.id).int >> 80
    assert abs(foreign.created_ms - job.created_ms) < 60_000


def test_a_uuid_of_a_far_time_does_not_break_the_date() -> None:
    """Version 7 reaches beyond the year 9999, and `created_at` raised."""
    job = Job("t", id="ffffffff-ffff-7fff-bfff-ffffffffffff")

    assert job.created_at.year < 9999
    assert read(job.to_wire(), id=job.id) == job


@pytest.mark.parametrize("id", ["", "x", "zzzzzzzz-zzzz-7zzz-zzzz-zzzzzzzzzzzz"])
def test_a_foreign_id_in_the_broker_does_not_keep_a_job_from_being_read(id: str) -> None:
    assert read(body(), id=id).created_ms == 0


# Replace


def test_replace_changes_what_is_named_and_nothing_else() -> None:
    job = Job("t", {"a": 1}, max_retries=3, timeout=timedelta(seconds=5), unique_key="k", headers={"h": "1"})

    changed = job.replace(queue="mail", priority=9, payload={"b": 2}, timeout=None)

    assert (changed.queue, changed.priority, changed.payload) == ("mail", Priority.CRITICAL, {"b": 2})
    assert changed.timeout is None
    assert changed.replace(queue="default", priority="medium", payload={"a": 1}, timeout=job.timeout) == job


def test_replace_leaves_the_job_itself_alone() -> None:
    job = Job("t", {"a": 1})

    job.replace(queue="mail", payload={})

    assert (job.queue, job.payload) == ("default", {"a": 1})


def test_replace_keeps_the_time_of_making_under_a_new_id() -> None:
    job = Job("t")
    twin = job.replace(id=None)

    assert twin.id != job.id
    assert read(twin.to_wire(), id=twin.id).created_ms == job.created_ms


@pytest.mark.parametrize("name", ["nonsense", "created_ms", "payload_json", "_extra"])
def test_replace_refuses_what_is_no_option(name: str) -> None:
    with pytest.raises(InvalidJob, match=rf"a job has no option '{name}'; it has expires, headers, id, "):
        Job("t").replace(**{name: 1})


@pytest.mark.parametrize("option", [{"queue": "{}"}, {"type": ""}, {"max_retries": -1}, {"payload": {"a": math.nan}}])
def test_replace_checks_as_the_constructor_does(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        Job("t").replace(**option)


# The wire


def test_a_plain_job_is_short_on_the_wire() -> None:
    job = Job("email.send", {"to": "ada@example.org"})

    assert job.to_wire() == b'{"type":"email.send","payload":{"to":"ada@example.org"}}'


@given(
    type=names,
    payload=payloads,
    max_retries=st.none() | st.integers(0, 1000),
    timeout=st.none() | whole_ms,
    result_ttl=st.none() | whole_ms,
    headers=st.dictionaries(st.text(), st.text(), max_size=3),
    queue=names,
    priority=st.sampled_from(Priority),
    unique_key=st.none() | st.just("key"),
)
def test_a_job_comes_back_from_the_wire_as_it_was(**options: Any) -> None:
    job = Job(**options)

    back = read(job.to_wire(), id=job.id, queue=job.queue, priority=job.priority, unique_key=job.unique_key)

    assert back == job
    assert back.to_wire() == job.to_wire()
    assert back.payload == options["payload"]
    assert json.loads(job.to_wire())["payload"] == options["payload"]


def test_durations_travel_as_whole_milliseconds() -> None:
    job = Job("t", timeout=timedelta(microseconds=2600))

    assert json.loads(job.to_wire())["timeout_ms"] == 3


def test_what_lives_beside_the_body_is_not_in_it() -> None:
    job = Job("t", queue="mail", priority="high", unique_key="k", expires=timedelta(seconds=5))

    assert json.loads(job.to_wire()) == {"type": "t", "payload": {}}


@given(st.dictionaries(st.text().map("x{}".format), json_values, max_size=5))
def test_unknown_fields_survive_every_round_trip(unknown: dict[str, Any]) -> None:
    back = read(body(**unknown)).replace(queue="mail", payload={"a": 1}).to_wire()

    assert json.loads(back) == {"type": "email.send", "payload": {"a": 1}, **unknown}
    assert read(read(back).to_wire()) == read(back)


def test_a_body_without_a_version_is_of_version_1() -> None:
    plain = b'{"type":"t","payload":{"a":1}}'

    assert decode_envelope(plain).v == 1
    assert read(plain) == read(b'{"v":1,"type":"t","payload":{"a":1}}')


def test_unknown_fields_keep_their_very_bytes() -> None:
    precise = b'{"v":1,"type":"t","payload":{},"future":{"n":12345678901234567890123,"f":1.10,"f":2}}'

    assert b'"future":{"n":12345678901234567890123,"f":1.10,"f":2}' in read(precise).replace(queue="q").to_wire()


@pytest.mark.parametrize(
    "newer",
    [body(v=2), body(v=99), b'{"v":2}', b'{"kind":"other","v":3,"payload":[]}', body(v=2, type=5, payload=None)],
)
def test_a_newer_wire_version_is_refused_with_the_way_out(newer: bytes) -> None:
    """One that lacked a field of version 1 was refused for the field, which sent the reader the wrong way."""
    for decode in (read, decode_envelope):
        with pytest.raises(InvalidJob, match=r"wire version \d+; this jobqueue reads 1: upgrade jobqueue here"):
            decode(newer)


@pytest.mark.parametrize("version", [0, -1])
def test_an_older_wire_version_is_not_told_to_upgrade(version: int) -> None:
    with pytest.raises(InvalidJob, match=rf"wire version {version}; this jobqueue reads 1$"):
        read(body(v=version))


GARBAGE = {
    "empty": b"",
    "no json": b"hello",
    "null": b"null",
    "list": b"[]",
    "number": b"1",
    "cut": body()[:-5],
    "more": body() + b"x",
    "no utf-8": b'{"v":1,"type":"\xff","payload":{}}',
    "no type": b'{"v":1,"payload":{}}',
    "no payload": b'{"v":1,"type":"t"}',
    "text version": body(v="1"),
    "true version": body(v=True),
    "float version": b'{"v":1.0,"type":"t","payload":{}}',
    "number type": body(type=5),
    "nul type": body(type="a\0b"),
    "quote type": body(type='a","v":2,"x":"'),
    "line break type": body(type="a\r\nb"),
    "long type": body(type="a" * 65),
    "text retries": body(max_retries="3"),
    "negative retries": body(max_retries=-1),
    "float timeout": body(timeout_ms=1.5),
    "no timeout": body(timeout_ms=0),
    "endless timeout": body(timeout_ms=10**18),
    "huge timeout": body(timeout_ms=10**30),
    "endless ttl": body(result_ttl_ms=10**18),
    "far created": body(created_ms=10**18),
    "negative created": body(created_ms=-1),
    "number headers": body(headers={"a": 1}),
    "list headers": body(headers=[]),
    "nan payload": b'{"v":1,"type":"t","payload":{"a":NaN}}',
    "bomb in payload": b'{"v":1,"type":"t","payload":' + b"[" * 1_000_000,
    "whole bomb in payload": b'{"v":1,"type":"t","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "bomb in unknown": b'{"v":1,"type":"t","payload":{},"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "bomb": b"[" * 1_000_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_body_that_is_no_job_is_invalid_and_nothing_else(garbage: bytes) -> None:
    for decode in (read, decode_envelope):
        with pytest.raises(InvalidJob) as caught:
            decode(garbage)
        assert len(str(caught.value)) < 400


def test_an_unknown_field_whose_name_is_no_text_is_invalid() -> None:
    """Found by changing bytes at random: those names are decoded apart, and raised a UnicodeDecodeError."""
    with pytest.raises(InvalidJob, match="body is not a job"):
        read(b'{"v":1,"type":"t","payload":{},"x\x80":1}')


@pytest.mark.parametrize("payload", [None, [], "text", 5, True])
def test_a_payload_on_the_wire_that_is_no_object_is_refused(payload: object) -> None:
    with pytest.raises(InvalidJob, match=r"the payload of 'email.send' is not a JSON object"):
        read(body(payload=payload))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_or_invalid(garbage: bytes) -> None:
    with suppress(InvalidJob):
        read(garbage)


@given(st.data())
def test_a_body_with_bytes_changed_is_a_job_or_invalid(data: st.DataObject) -> None:
    whole = bytearray(Job("t", {"a": [1, "two"]}, timeout=timedelta(seconds=1), headers={"a": "b"}).to_wire())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))

    with suppress(InvalidJob):
        job = read(bytes(whole))
        assert isinstance(job.payload, dict)
        assert job.created_at


@pytest.mark.parametrize("payload", [b'{"a":"\xff"}', b'{"a":"\\ud800"}'])
def test_a_payload_that_cannot_be_read_says_so_when_it_is_asked_for(payload: bytes) -> None:
    try:
        job = read(b'{"v":1,"type":"t","payload":' + payload + b"}")
    except InvalidJob:
        return
    with pytest.raises(InvalidJob, match="payload of 't' cannot be read"):
        job.payload  # noqa: B018 - reading it is the test


def test_of_duplicated_keys_the_last_one_counts_everywhere() -> None:
    twice = b'{"v":1,"type":"first","type":"last","payload":{"a":1},"payload":{"a":2,"a":3}}'

    envelope, job = decode_envelope(twice), read(twice)

    assert envelope.type == job.type == "last"
    assert msgspec.json.decode(envelope.payload) == job.payload == {"a": 3}
    assert job.to_wire().count(b'"type"') == 1


def test_a_hostile_payload_cannot_leave_its_place() -> None:
    job = Job("t", {'","v":2,"type":"x': '"},"type":"x'})

    assert decode_envelope(job.to_wire()).type == "t"
    assert read(job.to_wire()).payload == job.payload


def test_an_envelope_keeps_the_payload_as_bytes() -> None:
    envelope = decode_envelope(body(payload={"a": 1}, max_retries=3, timeout_ms=500, headers={"a": "b"}, future=1))

    assert bytes(envelope.payload) == b'{"a": 1}'
    assert (envelope.type, envelope.max_retries, envelope.timeout_ms) == ("email.send", 3, 500)
    assert envelope.headers == {"a": "b"}
