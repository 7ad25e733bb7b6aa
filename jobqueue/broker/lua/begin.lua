#!lua
-- begin: let a version of a schedule count on this queue; not in place of the same one or a newer.
-- returns {its standing, its job is live 0|1}; or UNDECLARED: the queue has to be declared first
local jobs    = KEYS[1]              -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local meta    = KEYS[2]              -- HASH  queue flags and counters
local cron    = KEYS[3]              -- HASH  schedule -> "<version> <last ms> <job id> <waiting, ms,ms,...> <ended by>"
local name    = ARGV[1]
local version = ARGV[2]
local at_ms   = ARGV[3]              -- from when on it counts
local waiting = ARGV[4]              -- ticks brought from another queue: ms,ms,... or -
local job     = ARGV[5]              -- job brought from another queue, or -

local standing = redis.call('HGET', cron, name)
redis.call('HLEN', jobs)
if redis.call('HEXISTS', meta, 'version') == 0 then return 'UNDECLARED' end

local old, last, own_job, own_waiting, ended = string.match(standing or '0 0 - - 0', '^(%d+) (%d+) (%S+) (%S+) (%S+)$')
if tonumber(version) > tonumber(old) and (ended == '-' or tonumber(version) > tonumber(ended)) then
  if ended == '-' then job, waiting = own_job, own_waiting end
  local time = redis.call('TIME')
  -- More than a day ahead, it was decided by a wrong clock: without a way back, nothing would fire until then.
  local lost = tonumber(last) > time[1] * 1000 + 86400000
  if lost then waiting = '-' end
  if lost or tonumber(at_ms) > tonumber(last) then last = at_ms end
  standing = table.concat({version, last, job, waiting, '-'}, ' ')
  redis.call('HSET', cron, name, standing)
else
  job = own_job
end
return {standing, job ~= '-' and redis.call('HEXISTS', jobs, job) or 0}
