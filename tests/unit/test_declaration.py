"""`@registry.cron`: schedules that are defined in code."""

from datetime import date, timedelta

import pytest

from jobqueue.errors import InvalidJob, InvalidSchedule, RegistryError
from jobqueue.job import Priority
from jobqueue.registry import Registry, Task
from jobqueue.schedule import Misfire, Overlap


@pytest.fixture
def registry() -> Registry:
    return Registry()


def names(registry: Registry) -> list[str]:
    return [each.name for each in registry.schedules]


def test_the_decorated_task_stays_the_task(registry: Registry) -> None:
    task = registry.task("digest.send")(send_digest)

    assert registry.cron("0 9 * * *")(task) is task
    assert isinstance(task, Task)


def test_a_schedule_has_the_name_and_the_options_of_its_task(registry: Registry) -> None:
    registry.cron("0 9 * * mon-fri")(registry.task("digest.send", queue="mail", priority="high")(send_digest))

    (schedule,) = registry.schedules

    assert (schedule.name, schedule.type, schedule.queue, schedule.priority) == (
        "digest.send",
        "digest.send",
        "mail",
        Priority.HIGH,
    )
    assert (schedule.expression, schedule.timezone) == ("0 9 * * mon-fri", "UTC")
    assert (schedule.misfire, schedule.overlap) == (Misfire.ONCE, Overlap.ALLOW)
    assert bytes(schedule.payload) == b"{}"


def test_a_schedule_is_what_its_decorator_says(registry: Registry) -> None:
    registry.cron(
        "*/10 0 9 * * *",
        timezone="Europe/Madrid",
        misfire="all",
        max_catchup=7,
        grace=timedelta(minutes=5),
        overlap="queue",
        jitter=timedelta(seconds=30),
        seconds=True,
        name="digest",
        arguments={"to": "ada@example.org", "day": date(2026, 1, 2)},
        queue="slow",
        priority=9,
    )(registry.task("digest.send", queue="mail")(send_digest))

    (schedule,) = registry.schedules

    assert (schedule.name, schedule.type, schedule.queue, schedule.priority) == (
        "digest",
        "digest.send",
        "slow",
        Priority.CRITICAL,
    )
    assert (schedule.timezone, schedule.seconds, schedule.misfire, schedule.max_catchup) == (
        "Europe/Madrid",
        True,
        Misfire.ALL,
        7,
    )
    assert (schedule.grace, schedule.overlap, schedule.jitter) == (
        timedelta(minutes=5),
        Overlap.QUEUE,
        timedelta(seconds=30),
    )
    assert bytes(schedule.payload) == b'{"to":"ada@example.org","day":"2026-01-02"}'


def test_the_same_code_makes_the_same_schedule() -> None:
    one, other = Registry(), Registry()
    for each in (one, other):
        each.cron("@daily", arguments={"to": "x"})(each.task("digest.send")(send_digest))

    assert one.schedules == other.schedules


def test_a_task_may_have_several_schedules_under_names_of_their_own(registry: Registry) -> None:
    @registry.cron("0 18 * * *", name="evening")
    @registry.cron("0 9 * * *", name="morning")
    @registry.cron("0 0 * * *")
    @registry.task("digest.send")
    def send() -> None: ...

    assert names(registry) == ["digest.send", "evening", "morning"]


def test_a_name_given_twice_is_refused_with_both_places(registry: Registry) -> None:
    task = registry.task("digest.send")(send_digest)
    other = registry.task("other")(also_send)
    registry.cron("0 9 * * *")(task)

    with pytest.raises(RegistryError) as raised:
        registry.cron("0 18 * * *", name="digest.send")(other)

    assert str(raised.value).startswith("schedule 'digest.send' is defined twice: '0 9 * * *' above send_digest (")
    assert f"{__file__}:{send_digest.__code__.co_firstlineno}) and '0 18 * * *' above also_send (" in str(raised.value)
    assert str(raised.value).endswith("; give one a name=")
    assert names(registry) == ["digest.send"]


@pytest.mark.parametrize("thing", [lambda: None, "digest.send", None])
def test_what_is_no_task_is_refused(registry: Registry, thing: object) -> None:
    with pytest.raises(RegistryError, match=r"@registry\.cron stands above @registry\.task, and here above "):
        registry.cron("@daily")(thing)  # type: ignore[type-var]


def test_a_task_of_another_registry_is_refused_until_that_is_included(registry: Registry) -> None:
    other = Registry()
    task = other.task("digest.send")(send_digest)

    with pytest.raises(RegistryError, match=r"task 'digest\.send' is not of this registry"):
        registry.cron("@daily")(task)
    registry.include(other)
    registry.cron("@daily")(task)

    assert names(registry) == ["digest.send"]
    assert names(other) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"to": 1}, "to: Input should be a valid string"),
        ({"cc": "x"}, "unexpected keyword argument 'cc'"),
    ],
)
def test_arguments_that_the_task_does_not_take_are_refused_at_once(
    registry: Registry, arguments: dict[str, object], complaint: str
) -> None:
    task = registry.task("digest.send")(send_digest)

    with pytest.raises(InvalidJob, match=complaint) as refused:
        registry.cron("@daily", arguments=arguments, name="weekly")(task)
    assert str(refused.value).startswith("schedule 'weekly': arguments of task 'digest.send': ")
    assert "as arguments={...}" in str(refused.value)

    assert names(registry) == []


def test_cron_without_an_expression_is_refused_and_says_where_it_stands(registry: Registry) -> None:
    task = registry.task("digest.send")(send_digest)

    for above in (task, send_digest):
        with pytest.raises(RegistryError, match=r"as in @registry\.cron\('0 9 .* above send_digest"):
            registry.cron(above)  # type: ignore[call-overload,arg-type,unused-ignore]

    assert names(registry) == []


def test_an_expression_that_is_none_is_refused_at_once(registry: Registry) -> None:
    task = registry.task("digest.send")(send_digest)

    with pytest.raises(InvalidSchedule, match="61"):
        registry.cron("61 * * * *")(task)


def test_a_time_zone_that_is_none_is_refused_at_once(registry: Registry) -> None:
    task = registry.task("digest.send")(send_digest)

    with pytest.raises(InvalidSchedule, match="Europe/Atlantis"):
        registry.cron("@daily", timezone="Europe/Atlantis")(task)


def test_an_option_that_is_none_is_refused_at_once(registry: Registry) -> None:
    task = registry.task("digest.send")(send_digest)

    with pytest.raises(InvalidSchedule, match="misfire must be skip, once or all, got 'twice'"):
        registry.cron("@daily", misfire="twice")(task)
    with pytest.raises(InvalidJob, match="queue name"):
        registry.cron("@daily", queue="no such name")(task)


def test_an_included_registry_brings_its_schedules(registry: Registry) -> None:
    other = Registry()
    other.cron("@daily")(other.task("digest.send")(send_digest))
    registry.cron("@hourly")(registry.task("also.send")(also_send))

    registry.include(other)

    assert names(registry) == ["also.send", "digest.send"]


def test_of_a_registry_with_a_name_that_is_taken_nothing_is_included(registry: Registry) -> None:
    other = Registry()
    other.cron("@daily", name="digest")(other.task("digest.send")(send_digest))
    registry.cron("@hourly", name="digest")(registry.task("also.send")(also_send))

    with pytest.raises(RegistryError, match=r"'@hourly' above also_send .* and '@daily' above send_digest "):
        registry.include(other)

    assert [each.type for each in registry.schedules] == ["also.send"]
    assert "digest.send" not in registry


async def send_digest(to: str = "all", day: date | None = None) -> None: ...


async def also_send() -> None: ...
