#!lua flags=allow-oom
-- pause: let no more jobs be started, or let them again. A full Redis allows it: that is when it is wanted.
-- returns 1 when it made a difference
local meta   = KEYS[1]               -- HASH  queue flags and counters
local paused = ARGV[1]               -- 1 pause, 0 resume

if paused == '1' then return redis.call('HSET', meta, 'paused', '1') end
return redis.call('HDEL', meta, 'paused')
