#!lua
-- enqueue: queue a batch, once. A repeated batch (same producer and number) gets its first answer again,
-- so that a lost reply doubles nothing, not even a job that has finished since.
-- returns '' when every job is new, else a line for each that is not: "<ordinal> exists|conflict <job id>";
-- or UNDECLARED, and nothing is queued: the queue has to be declared first
local critical    = KEYS[1]          -- STREAM
local high        = KEYS[2]          -- STREAM
local medium      = KEYS[3]          -- STREAM
local low         = KEYS[4]          -- STREAM
local jobs        = KEYS[5]          -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed     = KEYS[6]          -- ZSET  id -> due, ms
local meta        = KEYS[7]          -- HASH  queue flags and counters
local unique      = KEYS[8]          -- HASH  unique key -> owning id
local bell        = KEYS[9]          -- LIST  one element: who hears it looks at the delayed jobs
local producer    = KEYS[10]         -- STRING, TTL  "<last batch number> <its answer>"
-- KEYS[11..]                           STRING, TTL  idempotency key -> "<id> <digest>"
local number      = ARGV[1]          -- of this batch, growing
local remember_ms = ARGV[2]          -- how long the answer is kept
-- ARGV[3..]                            id, spec, body of each job. spec: "<rank>" for a plain job, else
--                                      "<rank> <due> <ttl ms> <key ordinal> <key ttl ms> <digest> <generation> <unique>"
--                                      due: 0 now, +ms from now, @ms since the epoch

local call = redis.call

local last = call('GET', producer)
if last then
  local done, answer = string.match(last, '^(%d+) (.*)$')
  if done == number then
    -- Also a write: WAIT and WAITAOF tell how far the last write of the connection has come.
    call('PEXPIRE', producer, remember_ms)
    return answer
  end
  if tonumber(done) > tonumber(number) then return redis.error_reply('STALE batch ' .. number .. ' after ' .. done) end
end

local streams = {critical, high, medium, low}
local count = (#ARGV - 2) / 3
local ids, all_plain = {}, true
for n = 1, count do
  ids[n] = ARGV[3 * n]
  if #ARGV[3 * n + 1] > 1 then all_plain = false end
end
local alive = call('HMGET', jobs, unpack(ids))
if call('HEXISTS', meta, 'version') == 0 then return 'UNDECLARED' end

-- A key of a wrong type must fail before the first write. What is read is checked by that, and a single job's
-- place by its write, which is the first.
if count > 1 then
  for _, stream in ipairs(streams) do call('XLEN', stream) end
  call('ZCARD', delayed)
end

-- plans: of the jobs that ask for more than a place in their stream. taken: ordinals that queue nothing.
local plans, taken, answers, seen, claimed, keyed = {}, {}, {}, {}, {}, {}
local requeued, soonest = 0, nil
-- Defined where they are needed: that costs a tenth of a plain enqueue.
local occupant, put

if not all_plain then
  -- Who already stands where this job would: another with its idempotency key, its unique key, or itself.
  occupant = function(plan)
    if plan.key then
      local holder = keyed[plan.key] or call('GET', plan.key)
      if holder then
        local holder_id, digest = string.match(holder, '^(%S+) (%S+)$')
        return (digest == plan.digest and 'exists ' or 'conflict ') .. holder_id
      end
    end
    if plan.unique ~= '' then
      local owner = claimed[plan.unique] or call('HGET', unique, plan.unique)
      if owner then return 'exists ' .. owner end
    end
    return nil
  end

  local time = call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)

  -- Queues a job as planned; returns what the index says of it.
  put = function(id, body, plan)
    local due = now
    local sign = string.sub(plan.due, 1, 1)
    if sign == '+' then due = now + tonumber(string.sub(plan.due, 2)) end
    if sign == '@' then due = tonumber(string.sub(plan.due, 2)) end
    local header, place = '', nil
    if plan.ttl > 0 or plan.generation > 0 or plan.unique ~= '' then
      local expires = plan.ttl > 0 and now + plan.ttl or 0
      header = string.format('1 0 %d 0 %.0f - %s', plan.generation, expires, plan.unique)
    end
    if due > now then
      call('ZADD', delayed, due, id)
      if due - now < 10000 and due < (soonest or math.huge) then soonest = due end
      place = 'd' .. plan.rank .. header .. '\n' .. body
    elseif header == '' then
      place = plan.rank .. call('XADD', streams[plan.rank + 1], '*', 'i', id, 'b', body)
    else
      place = plan.rank .. call('XADD', streams[plan.rank + 1], '*', 'i', id, 'b', body, 'h', header)
    end
    if plan.key then call('SET', plan.key, id .. ' ' .. plan.digest, 'PX', plan.key_ttl) end
    if plan.unique ~= '' then call('HSET', unique, plan.unique, id) end
    if plan.generation > 0 then requeued = requeued + 1 end
    return place
  end
end

for n = 1, count do
  local id, spec = ids[n], ARGV[3 * n + 1]
  local plan, other = nil, nil
  if #spec > 1 then
    local rank, due, ttl, ordinal, key_ttl, digest, generation, lock =
      string.match(spec, '^(%d) (%S+) (%d+) (%d+) (%d+) (%S+) (%d+) (%S*)$')
    plan = {rank = rank, due = due, ttl = tonumber(ttl), key_ttl = key_ttl, digest = digest,
            generation = tonumber(generation), unique = lock}
    if ordinal ~= '0' then plan.key = KEYS[10 + ordinal] end
    other = occupant(plan)
  end
  if not other and (alive[n] or seen[id]) then other = 'exists ' .. id end
  if other then
    taken[n] = true
    answers[#answers + 1] = n .. ' ' .. other
  else
    seen[id] = true
    if plan then
      plans[n] = plan
      if plan.key then keyed[plan.key] = id .. ' ' .. plan.digest end
      if plan.unique ~= '' then claimed[plan.unique] = id end
    end
  end
end

local index, size = {}, 0
for n = 1, count do
  if not taken[n] then
    local id, body = ids[n], ARGV[3 * n + 2]
    index[size + 1] = id
    if plans[n] then
      index[size + 2] = put(id, body, plans[n])
    else
      local rank = ARGV[3 * n + 1]
      index[size + 2] = rank .. call('XADD', streams[rank + 1], '*', 'i', id, 'b', body)
    end
    size = size + 2
  end
end

if size > 0 then
  call('HSET', jobs, unpack(index))
  call('HINCRBY', meta, 'enqueued', size / 2)
end
-- Promoters know of the first due job when they look, each 5 s: one is woken for another that is due before that.
if soonest and tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) == soonest
  and redis.pcall('LLEN', bell) == 0 then
  call('RPUSH', bell, 1)
end
if requeued > 0 then call('HINCRBY', meta, 'requeued', requeued) end
local answer = table.concat(answers, '\n')
call('SET', producer, number .. ' ' .. answer, 'PX', remember_ms)
return answer
