#!lua flags=allow-oom
-- beat: renew this consumer's lease and hear what is asked of it.
-- returns {0} when fenced, else {1, paused 0|1, server time in ms, id of each job asked to stop...}
local workers  = KEYS[1]             -- ZSET  consumer -> lease deadline, ms
local meta     = KEYS[2]             -- HASH  queue flags and counters
local cancel   = KEYS[3]             -- SET   ids asked to stop
local progress = KEYS[4]             -- HASH  id -> JSON
local jobs     = KEYS[5]             -- HASH  id -> where it is
local consumer = ARGV[1]
local lease_ms = tonumber(ARGV[2])
-- ARGV[3..]                            id, JSON of each job that published progress

-- A key of a wrong type must fail here, before the first write.
local seen = redis.call('HMGET', meta, 'janitor_ms', 'beat_ms', 'paused')
local asked = redis.call('SRANDMEMBER', cancel, 1000)
if #ARGV > 2 then
  redis.call('HLEN', progress)
  redis.call('HLEN', jobs)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- XX CH changes nothing where there is no lease; nor does a second beat within a millisecond.
local renewed = redis.call('ZADD', workers, 'XX', 'CH', now + lease_ms, consumer)
if renewed == 0 and not redis.call('ZSCORE', workers, consumer) then return {0} end
-- As in janitor.lua: the first to be heard after a gap grants the amnesty, or its beat would hide the gap.
local last = math.max(tonumber(seen[1] or '0'), tonumber(seen[2] or '0'))
if now - last > lease_ms / 2 then redis.call('HSET', meta, 'amnesty_ms', now + lease_ms) end
redis.call('HSET', meta, 'beat_ms', now)
for i = 3, #ARGV, 2 do
  if redis.call('HEXISTS', jobs, ARGV[i]) == 1 then
    redis.call('HSET', progress, ARGV[i], ARGV[i + 1])
  end
end
return {1, seen[3] and 1 or 0, now, unpack(asked)}
