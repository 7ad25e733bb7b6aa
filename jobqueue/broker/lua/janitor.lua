#!lua flags=allow-oom
-- janitor: a reaper's tick. Names the consumers that are dead: in a group without a lease ahead.
-- After a gap in which neither a worker nor a reaper was heard, reapers wait one lease first (amnesty), so that the
-- living renew before anyone is judged.
-- returns {1, consumer...}, or {0, ms of amnesty left}
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local workers  = KEYS[5]             -- ZSET  consumer -> lease deadline, ms
local meta     = KEYS[6]             -- HASH  queue flags and counters
local lease_ms = tonumber(ARGV[1])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen = redis.call('HMGET', meta, 'janitor_ms', 'beat_ms')
local last = math.max(tonumber(seen[1] or '0'), tonumber(seen[2] or '0'))
redis.call('ZCARD', workers)
local amnesty = tonumber(redis.call('HGET', meta, 'amnesty_ms') or '0')
redis.call('HSET', meta, 'janitor_ms', now)
-- A clock that went back leaves both ahead of now; neither may hold recovery up for longer than a lease.
if now - last > lease_ms / 2 or last > now or amnesty > now + lease_ms then
  amnesty = now + lease_ms
  redis.call('HSET', meta, 'amnesty_ms', amnesty)
end
-- Nor may a lease: one that reaches further than a lease was granted before the clock went back.
local longest = math.max(lease_ms, tonumber(redis.call('HGET', meta, 'lease_ms') or '0'))
for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', workers, '(' .. now + longest, '+inf', 'LIMIT', 0, 1000)) do
  redis.call('ZADD', workers, 'XX', now + longest, consumer)
end
if amnesty > now then return {0, amnesty - now} end

local found, answer = {}, {1}
local function judge(consumer)
  if found[consumer] then return end
  found[consumer] = true
  local deadline = redis.call('ZSCORE', workers, consumer)
  if not deadline or tonumber(deadline) < now then answer[#answer + 1] = consumer end
end
for _, stream in ipairs({critical, high, medium, low}) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'workers')
  if not consumers.err then
    for _, consumer in ipairs(consumers) do judge(consumer[2]) end
  end
end
for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', '(' .. now, 'LIMIT', 0, 1000)) do
  judge(consumer)
end
return answer
