#!lua flags=allow-oom
-- register: a new consumer begins its lease. Before its first read: an entry taken without a lease looks like a
-- dead worker's.
-- returns the server's time in ms, or 0 when a consumer of this name is there already
local workers  = KEYS[1]             -- ZSET  consumer -> lease deadline, ms
local meta     = KEYS[2]             -- HASH  queue flags and counters
local consumer = ARGV[1]
local lease_ms = tonumber(ARGV[2])

if redis.call('ZSCORE', workers, consumer) then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if lease_ms > tonumber(redis.call('HGET', meta, 'lease_ms') or '0') then redis.call('HSET', meta, 'lease_ms', lease_ms) end
redis.call('ZADD', workers, now + lease_ms, consumer)
return now
