#!lua flags=allow-oom
-- unwait: skip the ticks of a schedule that wait, with a record each: it has ended.
-- returns how many; 0 where another version stands
local cron     = KEYS[1]             -- HASH  schedule -> "<version> <last ms> <job id> <waiting, ms,ms,...> <ended by>"
local ticks    = KEYS[2]             -- STREAM what was decided: n schedule, d "<version> <decision> <reason> <tick>
--                                      <first> <count> <job id>"
local name     = ARGV[1]
local version  = ARGV[2]
local kept     = ARGV[3]             -- records kept, or a few more

local standing = redis.call('HGET', cron, name) or ''
redis.call('XLEN', ticks)
local old, last, job, waiting, ended = string.match(standing, '^(%d+) (%d+) (%S+) (%S+) (%S+)$')
if old ~= version or ended ~= '-' or waiting == '-' then return 0 end

redis.call('HSET', cron, name, table.concat({old, last, job, '-', '-'}, ' '))
local count = 0
for tick in string.gmatch(waiting, '%d+') do
  local told = table.concat({version, 'skipped ended', tick, tick, '1 -'}, ' ')
  redis.call('XADD', ticks, 'MAXLEN', '~', kept, '*', 'n', name, 'd', told)
  count = count + 1
end
return count
