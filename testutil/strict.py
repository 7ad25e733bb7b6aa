"""A linter for the Lua scripts that watches them run: a command on a key that is not in KEYS is refused, and so
are KEYS of more than one hash tag (but for `fetch`, which reads all queues of a worker where Redis is one server:
see `jobqueue.broker.reader`). Redis Cluster checks this only where slots differ, a single server never;
strict services (ElastiCache Serverless, Dragonfly) refuse it.

with strict_keys():
    ...                                  # every script of `jobqueue.broker.scripts` is sent with the check in front

The check is Lua, in front of each script on its second line, so that the script's own line numbers stay. A
refusal cannot be caught by `redis.pcall`; its message begins with STRICT.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from typing import Final

from jobqueue.broker import scripts

SWITCH: Final = "JOBQUEUE_TEST_STRICT_KEYS"
"""Environment variable: set, the whole test session runs so."""

KEY_POSITION: Final = {
    "TIME": 0,
    "INFO": 0,
    **dict.fromkeys(
        ["GET", "SET", "PEXPIRE", "HGET", "HSET", "HSETNX", "HMGET", "HGETALL", "HDEL", "HLEN", "HEXISTS"], 1
    ),
    **dict.fromkeys(["HINCRBY", "SADD", "SREM", "SCARD", "SISMEMBER", "SRANDMEMBER"], 1),
    **dict.fromkeys(["ZADD", "ZREM", "ZCARD", "ZSCORE", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE"], 1),
    **dict.fromkeys(["XADD", "XDEL", "XLEN", "XRANGE", "XACK", "XPENDING"], 1),
    **dict.fromkeys(["LLEN", "RPUSH"], 1),
    **dict.fromkeys(["XGROUP", "XINFO"], 2),
}
"""Where each command that scripts may use has its one key, counted from 1; 0: it has none.
XREADGROUP has its own rule."""

_CHECK = """\
local redis = (function(real, keys)
  local position = {%s}
  local declared, tag = {}, nil
  local function refuse(text) error('STRICT ' .. text, 0) end
  for _, key in ipairs(keys) do
    local own = string.match(key, '{([^}]+)}') or key
    tag = tag or own
    if own ~= tag and not MANY_SLOTS then refuse('KEYS of two slots: ' .. tag .. ' and ' .. own) end
    declared[key] = true
  end
  local function check(name, ...)
    local args, n = {...}, select('#', ...)
    if name == 'XREADGROUP' then
      for at = 1, n do
        if args[at] == 'STREAMS' then
          for key = at + 1, at + (n - at) / 2 do
            if not declared[args[key]] then refuse(name .. ' touches ' .. tostring(args[key])) end
          end
          return
        end
      end
      refuse('XREADGROUP without STREAMS')
    end
    local at = position[name]
    if not at then refuse('does not know ' .. tostring(name)) end
    if at > 0 and not declared[args[at]] then refuse(name .. ' touches ' .. tostring(args[at])) end
  end
  return setmetatable({
    call = function(...) check(...) return real.call(...) end,
    pcall = function(...) check(...) return real.pcall(...) end,
  }, {__index = real})
end)(redis, KEYS)
"""
_PRELUDE = " ".join(_CHECK.split()) % ", ".join(f"{name} = {at}" for name, at in KEY_POSITION.items())
_MANY_SLOTS = frozenset({"fetch"})


def strict_source(name: str, source: str) -> str:
    """The *source* of script *name* with the check in front; a `#!lua` line stays the first."""
    check = _PRELUDE.replace("MANY_SLOTS", str(name in _MANY_SLOTS).lower())
    shebang, newline, rest = source.partition("\n") if source.startswith("#!") else ("", "", source)
    return f"{shebang}{newline}{check} {rest}"


@contextmanager
def strict_keys() -> Iterator[None]:
    """Check every script of this process; brokers made before are checked, too."""
    plain = [(script, script.source, script.sha) for script in scripts.ALL.values()]
    for script, source, _ in plain:
        _replace(script, strict_source(script.name, source))
    try:
        yield
    finally:
        for script, source, _ in plain:
            _replace(script, source)


@contextmanager
def changed_source(script: scripts.Script, source: str) -> Iterator[None]:
    """Send *source* instead of the script's own."""
    before = script.source
    _replace(script, source)
    try:
        yield
    finally:
        _replace(script, before)


def _replace(script: scripts.Script, source: str) -> None:
    del scripts.ALL[script.sha]
    script.source = source
    script.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()
    scripts.ALL[script.sha] = script
