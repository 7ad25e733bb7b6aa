"""What is refused of schedules over HTTP is said in its own names, with the place that is at fault."""

from typing import Any

import pytest

from tests.integration.api.conftest import Api

pytestmark = pytest.mark.timeout(90)

SENT = {"name": "nightly", "expression": "0 3 * * *", "type": "report.build", "queue": "reports"}


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"expression": "* * * * * *"}, "expression", "first when `seconds` is true"),
        ({"expression": "0 3 * * *", "seconds": True}, "expression", "five fields: when `seconds` is true there are"),
        ({"expression": "H * * * *"}, "expression", "spread schedules with `jitter`"),
        ({"expression": "TZ=UTC 0 9 * * *"}, "expression", "name the time zone in `timezone`"),
        ({"expression": "٣ * * * *"}, "expression", "it is written in ASCII letters"),
        ({"expression": ""}, "expression", "has 0 fields"),
        ({"timezone": "+01:00"}, "timezone", "no time zone named '+01:00'"),
        ({"timezone": ""}, "timezone", "write a name of the IANA database"),
        ({"timezone": "Europe/Madrid "}, "timezone", "did you mean Europe/Madrid"),
        ({"grace": "0s"}, "grace", "grace must be from 1s to 1d, got 0s"),
        ({"jitter": "2d"}, "jitter", "jitter must be from 0s to 1d, got 2d"),
    ],
)
async def test_what_is_refused_of_a_definition_names_its_field(
    api: Api, changes: dict[str, Any], field: str, told: str
) -> None:
    problem = await api.refused("invalid-schedule", "POST", "/schedules", json={**SENT, **changes})

    assert told in problem["detail"]
    (error,) = problem["errors"]
    assert error["loc"] == ["body", field]
    assert error["msg"] == problem["detail"].removeprefix(f"{field} ")


async def test_of_an_expression_that_is_only_looked_at_the_query_is_named(api: Api) -> None:
    problem = await api.refused("invalid-schedule", "GET", "/cron", params={"expression": "* * * * * *"})

    assert problem["errors"] == [{"loc": ["query", "expression"], "msg": problem["detail"]}]


async def test_two_that_do_not_fit_together_name_no_one_field(api: Api) -> None:
    sent = {**SENT, "expires": "30s", "jitter": "1m"}
    problem = await api.refused("invalid-schedule", "POST", "/schedules", json=sent)

    assert "let expires be longer than jitter" in problem["detail"]
    assert "errors" not in problem


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("2026-01-01T00:00:00Z", "`to` must be after `from`, got 2026-01-01T06:00:00Z to 2026-01-01T00:00:00Z"),
        ("2999-01-01T01:00:00+01:00", "`to` must not be in the future, got 2999-01-01T00:00:00Z; it is 20"),
    ],
)
async def test_a_span_that_is_none_is_told_by_the_names_that_were_sent(api: Api, to: str, told: str) -> None:
    await api.expect(201, "POST", "/schedules", json=SENT)
    span = {"from": "2026-01-01T06:00:00Z", "to": to}
    problem = await api.refused("invalid-schedule", "POST", "/schedules/nightly/backfill", json=span)

    assert problem["detail"].startswith(told)
    (error,) = problem["errors"]
    assert error["loc"] == ["body", "to"]
    assert error["msg"].startswith("must ")


@pytest.mark.parametrize("text", ["0\t3 * * *", "0 3\n* * *", "0 3 * * *\n"])
async def test_what_was_no_expression_is_none_still(api: Api, text: str) -> None:
    problem = await api.refused("invalid-request", "POST", "/schedules", json={**SENT, "expression": text})

    assert "must have no tabs" in problem["detail"]
    await api.refused("invalid-request", "GET", "/cron", params={"expression": text})


async def test_expressions_and_zones_are_still_bounded(api: Api) -> None:
    for changes in ({"expression": "0," * 50 + "0 * * * *"}, {"timezone": "A" * 65}):
        await api.refused("invalid-request", "POST", "/schedules", json={**SENT, **changes})


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("count=-1", "query.count: must be at least 1"),
        ("count=101", "query.count: must be at most 100"),
        ("count=1.5", "query.count: must be a whole number"),
        ("after=9999-12-31T23:59:59Z", "from 1970 to 8999"),
        ("after=2026-01-01T00:00:00+01:00", "query.after: has a blank before its offset: in an address, + must be"),
        ("after=2026-01-01T00:00:00%2B01:00", None),
        ("seconds=1", "query.seconds: must be 'true' or 'false'"),
    ],
)
async def test_numbers_and_instants_are_told_their_bounds(api: Api, asked: str, told: str | None) -> None:
    path = f"/cron?expression=@daily&{asked}"
    if told is None:
        await api.get(path)
    else:
        assert told in (await api.refused("invalid-request", "GET", path))["detail"]


async def test_an_empty_cursor_is_told_in_words(api: Api) -> None:
    problem = await api.refused("invalid-request", "GET", "/schedules?cursor=")

    assert problem["detail"] == "query.cursor: must be the `next_cursor` of the page before, with the same filter"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_catchup": "many"}, "body.max_catchup: must be a whole number"),
        ({"max_catchup": 0}, "body.max_catchup: must be at least 1"),
        ({"max_retries": 1001}, "body.max_retries: must be at most 1000"),
        ({"seconds": "yes"}, "body.seconds: must be true or false"),
        ({"expression": 5}, "body.expression: must be text"),
        ({"misfire": "twice"}, "body.misfire: must be 'skip', 'once' or 'all'"),
    ],
)
async def test_values_of_another_kind_are_told_in_plain_words(api: Api, changes: dict[str, Any], told: str) -> None:
    problem = await api.refused("invalid-request", "POST", "/schedules", json={**SENT, **changes})

    assert problem["detail"] == told
