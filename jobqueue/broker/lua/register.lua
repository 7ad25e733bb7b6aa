#!lua flags=allow-oom
-- register: a new consumer begins its lease. Before its first read: an entry taken without a lease looks like a
-- dead worker's.
-- returns the server's time in ms, or 0 when a consumer of this name is there already
local workers  = KEYS[1]             -- ZSET  consumer -> lease deadline, ms
local meta     = KEYS[2]             -- HASH  queue flags and counters
local roster   = KEYS[3]             -- HASH  consumer -> when it joined, ms, a blank, JSON
local consumer = ARGV[1]
local lease_ms = tonumber(ARGV[2])
local facts    = ARGV[3]             -- JSON of what it tells of itself

if redis.call('ZSCORE', workers, consumer) then
  return 0
end
-- A key of a wrong type must fail here, before the first write.
redis.call('HLEN', roster)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if lease_ms > tonumber(redis.call('HGET', meta, 'lease_ms') or '0') then redis.call('HSET', meta, 'lease_ms', lease_ms) end
redis.call('ZADD', workers, now + lease_ms, consumer)
redis.call('HSET', roster, consumer, string.format('%.0f ', now) .. facts)
return now
