#!lua flags=allow-oom
-- forget: remove a consumer that has nothing pending: one that leaves, or one whose lease has run out.
-- returns how many entries it still has pending; then nothing of it was removed but its lease
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local workers  = KEYS[5]             -- ZSET  consumer -> lease deadline, ms
local roster   = KEYS[6]             -- HASH  consumer -> what it told of itself
local consumer = ARGV[1]
local leaving  = ARGV[2]             -- 1: it says so itself

local deadline = redis.call('ZSCORE', workers, consumer)
if leaving ~= '1' and deadline then
  local time = redis.call('TIME')
  if tonumber(deadline) >= time[1] * 1000 + math.floor(time[2] / 1000) then return -1 end
end
-- A key of a wrong type must fail here, before the first write.
redis.call('HLEN', roster)
redis.call('ZREM', workers, consumer)
local streams, pending = {critical, high, medium, low}, 0
for _, stream in ipairs(streams) do
  local entries = redis.pcall('XPENDING', stream, 'workers', '-', '+', 1, consumer)
  if not entries.err then pending = pending + #entries end
end
if pending == 0 then
  for _, stream in ipairs(streams) do redis.pcall('XGROUP', 'DELCONSUMER', stream, 'workers', consumer) end
  redis.call('HDEL', roster, consumer)
end
return pending
