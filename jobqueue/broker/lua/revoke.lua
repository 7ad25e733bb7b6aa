#!lua flags=allow-oom
-- revoke: an API key is void from an instant on. The earlier of two revocations holds.
-- returns 1, or 0 when there is no such key
local known   = KEYS[1]              -- HASH  key id -> what never changes
local revoked = KEYS[2]              -- HASH  key id -> revoked from, ms
local id      = ARGV[1]
local at_ms   = tonumber(ARGV[2])

if redis.call('HEXISTS', known, id) == 0 then return 0 end
local before = tonumber(redis.call('HGET', revoked, id))
if not before or at_ms < before then redis.call('HSET', revoked, id, string.format('%.0f', at_ms)) end
return 1
