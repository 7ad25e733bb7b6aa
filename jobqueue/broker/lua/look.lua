#!lua flags=no-writes,allow-oom
-- look: where schedules stand.
-- returns {now, ms, then for each name its standing or '', and whether its job is live 0|1}
local jobs = KEYS[1]                 -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local cron = KEYS[2]                 -- HASH  schedule -> "<version> <last ms> <job id> <waiting, ms,ms,...> <ended by>"
-- ARGV[1..]                            names of schedules, 500 at most

local time = redis.call('TIME')
local answer = {time[1] * 1000 + math.floor(time[2] / 1000)}
local standings = #ARGV > 0 and redis.call('HMGET', cron, unpack(ARGV)) or {}
for n = 1, #ARGV do
  local standing = standings[n] or ''
  local job = string.match(standing, '^%S+ %S+ (%S+)')
  answer[2 * n] = standing
  answer[2 * n + 1] = (job and job ~= '-') and redis.call('HEXISTS', jobs, job) or 0
end
return answer
