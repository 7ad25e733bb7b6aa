#!lua flags=allow-oom
-- end: let no version of a schedule that is older than this one fire on this queue again.
-- returns {now, ms, what stood here or '', its job is live 0|1}
local jobs    = KEYS[1]              -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local cron    = KEYS[2]              -- HASH  schedule -> "<version> <last ms> <job id> <waiting, ms,ms,...> <ended by>"
local name    = ARGV[1]
local version = ARGV[2]              -- the one that ends what stands here

local standing = redis.call('HGET', cron, name) or '0 0 - - -'
redis.call('HLEN', jobs)
local time = redis.call('TIME')
local old, last, job, waiting, ended = string.match(standing, '^(%d+) (%d+) (%S+) (%S+) (%S+)$')
if tonumber(version) > tonumber(old) and (ended == '-' or tonumber(version) > tonumber(ended)) then
  redis.call('HSET', cron, name, table.concat({old, last, job, waiting, version}, ' '))
end
return {time[1] * 1000 + math.floor(time[2] / 1000), standing, job ~= '-' and redis.call('HEXISTS', jobs, job) or 0}
