#!lua flags=no-writes,allow-oom
-- stats: everything countable about a queue, at one instant.
-- returns {now, [length, running, oldest ready ms or 0] of each stream, delayed, next due ms or 0, dead letters,
--          journal entries, workers alive, live jobs, paused 0|1, then name and value of each counter}
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local jobs     = KEYS[5]             -- HASH  id -> where it is
local delayed  = KEYS[6]             -- ZSET  id -> due, ms
local workers  = KEYS[7]             -- ZSET  consumer -> lease deadline, ms
local dead     = KEYS[8]             -- STREAM dead letters
local journal  = KEYS[9]             -- STREAM history to be shipped
local meta     = KEYS[10]            -- HASH  queue flags and counters

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {string.format('%.0f', now)}
local function add(value) answer[#answer + 1] = value end

local function delivered_upto(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return '0-0' end
  for _, group in ipairs(groups) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then return group[i + 1] end
    end
  end
  return '0-0'
end

for _, stream in ipairs({critical, high, medium, low}) do
  add(redis.call('XLEN', stream))
  local pending = redis.pcall('XPENDING', stream, 'workers')
  add(pending.err and 0 or pending[1])
  local oldest = redis.call('XRANGE', stream, '(' .. delivered_upto(stream), '+', 'COUNT', 1)[1]
  add(oldest and string.match(oldest[1], '^%d+') or '0')
end
add(redis.call('ZCARD', delayed))
add(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or '0')
add(redis.call('XLEN', dead))
add(redis.call('XLEN', journal))
add(redis.call('ZCOUNT', workers, now, '+inf'))
add(redis.call('HLEN', jobs))
add(redis.call('HEXISTS', meta, 'paused'))
for _, part in ipairs(redis.call('HGETALL', meta)) do add(part) end
return answer
