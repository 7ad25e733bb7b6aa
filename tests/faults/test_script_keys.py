"""Every script touches only keys that it was given as KEYS, all of one slot: by its source, and by running it (F53)."""

from pathlib import Path

import pytest
import redis.asyncio
from redis.exceptions import ResponseError

import jobqueue.broker
from testutil.lua_keys import Script
from testutil.strict import KEY_POSITION, strict_source

LUA = sorted(Path(jobqueue.broker.__path__[0], "lua").glob("*.lua"))
HEADER = "#!lua\n-- a script\nlocal jobs = KEYS[1]\nlocal meta = KEYS[2]\nlocal id = ARGV[1]\n"
KEYS = ("{q}:jobs", "{q}:meta")
RIGHT = [
    "return redis.call('HGET', jobs, id)",
    "local all = {jobs, meta} for _, each in ipairs(all) do redis.pcall('HLEN', each) end",
    "local function count(key, word) return redis.call(word, key) end count(({jobs, meta})[2], 'HLEN')",
    "local read = redis.pcall('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', KEYS[1], '>')",
    "local one, two = meta, 'x' .. id return redis.call('HSET', one, two, '{other}:key')",
]
WRONG = [
    "return redis.call('HGET', '{q}:jobs2', id)",
    "return redis.call('HGET', jobs .. '2', id)",
    "return redis.call('HGET', id, id)",
    "return redis.pcall('HGET', id, id)",
    "jobs = jobs .. '2' return redis.call('HGET', jobs, id)",
    "local all = {jobs, id} for _, each in ipairs(all) do redis.call('HLEN', each) end",
    "local function count(key) return redis.call('HLEN', key) end count(jobs) count(id)",
    "return redis.pcall('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', jobs, id, '>', '>')",
    "return redis.call('RANDOMKEY')",
    "return redis.call('DEL', jobs)",
    "local word = id return redis.call(word, jobs)",
    "local ask = redis.call return ask('HGET', id, id)",
    "local r = redis return r.call('HGET', id, id)",
]


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
def test_f53_a_script_takes_its_keys_from_keys_only(path: Path) -> None:
    """Queues are on several slots: each script names its keys in KEYS, all of one slot, and touches no others."""
    script = Script(path.read_text(), KEY_POSITION)

    assert script.undeclared() == []
    assert script.commands()


@pytest.mark.parametrize("body", RIGHT)
def test_the_reader_of_sources_knows_keys_from_other_values(body: str) -> None:
    assert Script(HEADER + body, KEY_POSITION).undeclared() == []


@pytest.mark.parametrize("body", WRONG)
def test_the_reader_of_sources_finds_an_undeclared_key(body: str) -> None:
    assert len(Script(HEADER + body, KEY_POSITION).undeclared()) == 1


@pytest.mark.parametrize("body", RIGHT)
async def test_the_running_check_lets_declared_keys_through(raw: "redis.asyncio.Redis", body: str) -> None:
    await raw.delete(KEYS[0])
    await raw.eval(strict_source("s", HEADER + body), 2, *KEYS, "f")


@pytest.mark.parametrize("body", WRONG)
async def test_the_running_check_refuses_an_undeclared_key(raw: "redis.asyncio.Redis", body: str) -> None:
    with pytest.raises(ResponseError, match="STRICT"):
        await raw.eval(strict_source("s", HEADER + body), 2, *KEYS, "{q}:other")


async def test_the_running_check_refuses_keys_of_two_slots(raw: "redis.asyncio.Redis") -> None:
    with pytest.raises(ResponseError, match="STRICT KEYS of two slots"):
        await raw.eval(strict_source("s", "return 1"), 2, "{q}:jobs", "{r}:jobs")

    assert await raw.eval(strict_source("fetch", "return 1"), 2, "{q}:jobs", "{r}:jobs") == 1


async def test_the_check_keeps_the_scripts_lines(raw: "redis.asyncio.Redis") -> None:
    with pytest.raises(ResponseError, match=r"user_script:6\b"):
        await raw.eval(strict_source("s", HEADER + "error('here')"), 2, *KEYS, "f")


async def test_the_server_has_the_keys_where_the_check_looks_for_them(raw: "redis.asyncio.Redis") -> None:
    subcommand = {"XGROUP": "XGROUP|CREATE", "XINFO": "XINFO|GROUPS"}
    for name, position in KEY_POSITION.items():
        facts = await raw.execute_command("COMMAND", "INFO", subcommand.get(name, name))
        (told,) = facts.values() if isinstance(facts, dict) else facts
        first = told["first_key_pos"] if isinstance(told, dict) else told[3]
        assert first == position, name
