#!lua
-- fire: decide ticks of a schedule: queue their jobs, and record each decision. Only where the schedule stands as the
-- caller saw it, and when every tick has come.
-- returns {done 0|1, now, ms, its standing or '', its job is live 0|1, then id and text of each record};
-- or UNDECLARED: the queue has to be declared first
local critical    = KEYS[1]          -- STREAM
local high        = KEYS[2]          -- STREAM
local medium      = KEYS[3]          -- STREAM
local low         = KEYS[4]          -- STREAM
local jobs        = KEYS[5]          -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed     = KEYS[6]          -- ZSET  id -> due, ms
local meta        = KEYS[7]          -- HASH  queue flags and counters
local bell        = KEYS[8]          -- LIST  one element: who hears it looks at the delayed jobs
local cron        = KEYS[9]          -- HASH  schedule -> "<version> <last ms> <job id> <waiting, ms,ms,...> <ended by>"
local ticks       = KEYS[10]         -- STREAM what was decided: n schedule, d "<version> <decision> <reason> <tick>
--                                      <first> <count> <job id>"
local name        = ARGV[1]
local seen        = ARGV[2]          -- "<version> <last ms>" as the caller saw it
local seen_first  = ARGV[3]          -- the first tick that waits, or -
local overlap     = ARGV[4]          -- allow, skip or queue
local max_waiting = tonumber(ARGV[5])
local rank        = ARGV[6]          -- of the jobs
local ttl_ms      = tonumber(ARGV[7])   -- of the jobs, 0: none
local kept        = ARGV[8]          -- records kept, or a few more
-- ARGV[9..]                            waited|step, reason, tick, first, count, then of its job id, due, body ('' skipped);
--                                      `waited`, for the first tick that waits, stands first

local call = redis.call

-- A key of a wrong type must fail before the first write.
local standing = call('HGET', cron, name)
if call('HEXISTS', meta, 'version') == 0 then return 'UNDECLARED' end
local streams = {critical, high, medium, low}
call('XLEN', streams[rank + 1])
call('XLEN', ticks)
call('ZCARD', delayed)

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version, last, job, waiting, ended = string.match(standing or '', '^(%d+) (%d+) (%S+) (%S+) (%S+)$')
local busy = (job and job ~= '-') and call('HEXISTS', jobs, job) or 0

local fits = version and ended == '-' and version .. ' ' .. last == seen and string.match(waiting, '^[^,]+') == seen_first
for n = 9, #ARGV, 8 do
  if tonumber(ARGV[n + 2]) > now then fits = false end
end
if not fits then return {0, now, standing or '', busy} end

local queued, records, queue = {}, {}, {}
for tick in string.gmatch(waiting, '%d+') do queue[#queue + 1] = tick end

local function decide(decision, reason, tick, first, count, id)
  records[#records + 1] = table.concat({version, decision, reason, tick, first, count, id}, ' ')
end

local function fire(n, reason)
  local tick, id = ARGV[n + 2], ARGV[n + 5]
  if call('HEXISTS', jobs, id) == 0 then queued[#queued + 1] = {id = id, due = tonumber(ARGV[n + 6]), body = ARGV[n + 7]} end
  job, busy = id, 1
  decide('fired', reason, tick, tick, 1, id)
end

for n = 9, #ARGV, 8 do
  local kind, reason, tick = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  if kind == 'waited' then
    if busy == 0 then
      table.remove(queue, 1)
      fire(n, reason)
    end
  else
    last = tick
    if ARGV[n + 5] == '' then
      decide('skipped', reason, tick, ARGV[n + 3], ARGV[n + 4], '-')
    elseif overlap == 'skip' and busy == 1 then
      decide('skipped', 'overlap', tick, tick, 1, job)
    elseif overlap == 'queue' and (busy == 1 or #queue > 0) then
      if #queue < max_waiting then
        queue[#queue + 1] = tick
        decide('waiting', 'overlap', tick, tick, 1, job)
      else
        decide('skipped', 'max_catchup', tick, tick, 1, job)
      end
    else
      fire(n, reason)
    end
  end
end

local index, soonest = {}, nil
local header = ttl_ms > 0 and string.format('1 0 0 0 %.0f - ', now + ttl_ms) or ''
for n, each in ipairs(queued) do
  index[2 * n - 1] = each.id
  if each.due > now then
    call('ZADD', delayed, each.due, each.id)
    if each.due - now < 10000 and each.due < (soonest or math.huge) then soonest = each.due end
    index[2 * n] = 'd' .. rank .. header .. '\n' .. each.body
  elseif header == '' then
    index[2 * n] = rank .. call('XADD', streams[rank + 1], '*', 'i', each.id, 'b', each.body)
  else
    index[2 * n] = rank .. call('XADD', streams[rank + 1], '*', 'i', each.id, 'b', each.body, 'h', header)
  end
end
if #index > 0 then
  call('HSET', jobs, unpack(index))
  call('HINCRBY', meta, 'enqueued', #queued)
end
-- As in enqueue: one promoter is woken for a job that is due before all that it knows of.
if soonest and tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) == soonest
  and redis.pcall('LLEN', bell) == 0 then
  call('RPUSH', bell, 1)
end

local answer = {1, now, '', busy}
if #records > 0 then
  standing = table.concat({version, last, job, #queue > 0 and table.concat(queue, ',') or '-', '-'}, ' ')
  call('HSET', cron, name, standing)
  for _, record in ipairs(records) do
    answer[#answer + 1] = call('XADD', ticks, 'MAXLEN', '~', kept, '*', 'n', name, 'd', record)
    answer[#answer + 1] = record
  end
end
answer[3] = standing
return answer
