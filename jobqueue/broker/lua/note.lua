#!lua
-- note: record what was done by hand, once.
-- returns 1; 0 it was recorded already; or UNDECLARED: the queue has to be declared first
local meta     = KEYS[1]             -- HASH  queue flags and counters
local ticks    = KEYS[2]             -- STREAM what was decided: n schedule, d "<version> <decision> <reason> <tick>
--                                      <first> <count> <job id>"
local noted    = KEYS[3]             -- STRING, TTL  these records were noted
local kept     = ARGV[1]             -- records kept, or a few more
local known_ms = ARGV[2]             -- for how long they are known
-- ARGV[3..]                            name, record

redis.call('XLEN', ticks)
if redis.call('HEXISTS', meta, 'version') == 0 then return 'UNDECLARED' end
if redis.call('GET', noted) then return 0 end
redis.call('SET', noted, 1, 'PX', known_ms)
for n = 3, #ARGV, 2 do
  redis.call('XADD', ticks, 'MAXLEN', '~', kept, '*', 'n', ARGV[n], 'd', ARGV[n + 1])
end
return 1
