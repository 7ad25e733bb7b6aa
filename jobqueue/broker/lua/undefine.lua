#!lua flags=allow-oom
-- undefine: forget a schedule's definition.
-- returns 1, or 0 when another version is kept than the expected one
local definitions = KEYS[1]           -- HASH    name -> <version>\n<JSON>
local revision    = KEYS[2]           -- STRING  another number after every change
local name        = ARGV[1]
local expected    = ARGV[2]           -- version

local kept = redis.call('HGET', definitions, name)
if not kept or kept:match('^%d+') ~= expected then return 0 end
local known = tonumber(redis.call('GET', revision)) or 0
redis.call('HDEL', definitions, name)
-- By the clock, as in define.
local now = redis.call('TIME')
redis.call('SET', revision, string.format('%.0f', math.max(known + 1, now[1] * 1000000 + now[2])))
return 1
