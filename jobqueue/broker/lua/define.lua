#!lua flags=allow-oom
-- define: keep this version of a schedule's definition in place of another.
-- returns 1, 0 when another version is kept than the expected one, or -1 when it would be a name too many
local definitions = KEYS[1]           -- HASH    name -> <version>\n<JSON>
local revision    = KEYS[2]           -- STRING  another number after every change
local name        = ARGV[1]
local expected    = ARGV[2]           -- version, 0: none
local definition  = ARGV[3]           -- <version>\n<JSON>
local most        = tonumber(ARGV[4])

local kept = redis.call('HGET', definitions, name)
if (kept and kept:match('^%d+') or '0') ~= expected then return 0 end
if not kept and redis.call('HLEN', definitions) >= most then return -1 end
redis.call('HSET', definitions, name, definition)
-- By the clock, and not by one: after a failover that lost changes, others must not come to the same number.
local now = redis.call('TIME')
local next_one = (tonumber(redis.call('GET', revision)) or 0) + 1
redis.call('SET', revision, string.format('%.0f', math.max(next_one, now[1] * 1000000 + now[2])))
return 1
