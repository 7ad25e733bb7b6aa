#!lua flags=allow-oom
-- take: take tokens out of a bucket. All is in µs of refilling: a bucket is the instant at which it will be full.
-- returns 0 when they were taken, else ms until they are there; then nothing was taken
local bucket   = KEYS[1]             -- STRING, TTL  full from, µs; missing: full
local cost_us  = tonumber(ARGV[1])   -- how long the wanted tokens take to come
local depth_us = tonumber(ARGV[2])   -- how long an empty bucket takes to fill

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = tonumber(redis.call('GET', bucket)) or now
-- After the clock was set back, nobody is to wait for longer than an empty bucket takes.
full_at = math.min(math.max(full_at, now), now + depth_us) + cost_us
local wait_us = full_at - now - depth_us
if wait_us > 0 then return math.ceil(wait_us / 1000) end
redis.call('SET', bucket, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
