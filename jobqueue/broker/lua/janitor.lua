#!lua flags=allow-oom
-- janitor: a reaper's tick. Names the consumers that are dead: in a group or on the roster without a lease ahead.
-- After a gap in which neither a worker nor a reaper was heard, reapers wait one lease first (amnesty), so that the
-- living renew before anyone is judged.
-- A fleet looks once, not once for each of its reapers: a look costs as much as there are workers.
-- returns {1, consumer...}, or {0, ms of amnesty left}
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local workers  = KEYS[5]             -- ZSET  consumer -> lease deadline, ms
local meta     = KEYS[6]             -- HASH  queue flags and counters
local roster   = KEYS[7]             -- HASH  consumer -> what it told of itself
local lease_ms = tonumber(ARGV[1])
local fresh_ms = tonumber(ARGV[2])   -- of no use while another reaper's look is younger

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seen = redis.call('HMGET', meta, 'janitor_ms', 'beat_ms', 'amnesty_ms', 'lease_ms')
local last = math.max(tonumber(seen[1] or '0'), tonumber(seen[2] or '0'))
local amnesty = tonumber(seen[3] or '0')
local age = now - tonumber(seen[1] or '0')
if age >= 0 and age < fresh_ms and amnesty <= now then return {1} end
local leases = redis.call('ZRANGE', workers, 0, -1, 'WITHSCORES')
local told = redis.call('HGETALL', roster)
redis.call('HSET', meta, 'janitor_ms', now)
-- A clock that went back leaves both ahead of now; neither may hold recovery up for longer than a lease.
if now - last > lease_ms / 2 or last > now or amnesty > now + lease_ms then
  amnesty = now + lease_ms
  redis.call('HSET', meta, 'amnesty_ms', amnesty)
end
-- Nor may a lease: one that reaches further than a lease was granted before the clock went back.
local longest = math.max(lease_ms, tonumber(seen[4] or '0'))
local deadlines = {}
for n = 1, #leases, 2 do
  deadlines[leases[n]] = tonumber(leases[n + 1])
  if deadlines[leases[n]] > now + longest then redis.call('ZADD', workers, 'XX', now + longest, leases[n]) end
end
if amnesty > now then return {0, amnesty - now} end

local found, answer = {}, {1}
local function judge(consumer)
  if found[consumer] then return end
  found[consumer] = true
  if (deadlines[consumer] or 0) < now then answer[#answer + 1] = consumer end
end
for _, stream in ipairs({critical, high, medium, low}) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'workers')
  if not consumers.err then
    for _, consumer in ipairs(consumers) do judge(consumer[2]) end
  end
end
for n = 1, #leases, 2 do judge(leases[n]) end
-- Left there by a reaper of an older version, which does not know the roster.
for n = 1, #told, 2 do judge(told[n]) end
return answer
