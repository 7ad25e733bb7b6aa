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
local number      = tonumber(ARGV[1])  -- of this batch, growing
local remember_ms = ARGV[2]          -- how long the answer is kept
-- ARGV[3..]                            id, spec, body of each job. spec: "<rank>" for a plain job, else
--                                      "<rank> <due> <ttl ms> <key ordinal> <key ttl ms> <digest> <generation> <unique>"
--                                      due: 0 now, +ms from now, @ms since the epoch

local last = redis.call('GET', producer)
if last then
  local done, answer = string.match(last, '^(%d+) (.*)$')
  done = tonumber(done)
  if done == number then
    -- Also a write: WAIT and WAITAOF tell how far the last write of the connection has come.
    redis.call('PEXPIRE', producer, remember_ms)
    return answer
  end
  if done > number then return redis.error_reply('STALE batch ' .. number .. ' after ' .. done) end
end

local streams = {critical, high, medium, low}
local count = (#ARGV - 2) / 3
local ids = {}
for n = 1, count do ids[n] = ARGV[3 * n] end
local alive = redis.call('HMGET', jobs, unpack(ids))

-- A key of a wrong type must fail here, before the first write.
for _, stream in ipairs(streams) do redis.call('XLEN', stream) end
redis.call('ZCARD', delayed)
redis.call('HLEN', unique)
if redis.call('HEXISTS', meta, 'version') == 0 then return 'UNDECLARED' end

-- plans: of the jobs that ask for more than a place in their stream. taken: ordinals that queue nothing.
local plans, taken, answers, seen, claimed, keyed = {}, {}, {}, {}, {}, {}

-- Who already stands where this job would: another with its idempotency key, its unique key, or itself.
local function occupant(id, plan)
  if plan.key then
    local holder = keyed[plan.key] or redis.call('GET', plan.key)
    if holder then
      local holder_id, digest = string.match(holder, '^(%S+) (%S+)$')
      return (digest == plan.digest and 'exists ' or 'conflict ') .. holder_id
    end
  end
  if plan.unique ~= '' then
    local owner = claimed[plan.unique] or redis.call('HGET', unique, plan.unique)
    if owner then return 'exists ' .. owner end
  end
  return nil
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
    other = occupant(id, plan)
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

local now = nil
local index, fresh, requeued, soonest = {}, 0, 0, nil

local function keep(id, place)
  index[#index + 1] = id
  index[#index + 1] = place
end

local function put(id, body, plan)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  local due = now
  local sign = string.sub(plan.due, 1, 1)
  if sign == '+' then due = now + tonumber(string.sub(plan.due, 2)) end
  if sign == '@' then due = tonumber(string.sub(plan.due, 2)) end
  local header = ''
  if plan.ttl > 0 or plan.generation > 0 or plan.unique ~= '' then
    local expires = plan.ttl > 0 and now + plan.ttl or 0
    header = string.format('1 0 %d 0 %.0f - %s', plan.generation, expires, plan.unique)
  end
  if due > now then
    redis.call('ZADD', delayed, due, id)
    if not soonest or due < soonest then soonest = due end
    keep(id, 'd' .. plan.rank .. header .. '\n' .. body)
  elseif header == '' then
    keep(id, plan.rank .. redis.call('XADD', streams[plan.rank + 1], '*', 'i', id, 'b', body))
  else
    keep(id, plan.rank .. redis.call('XADD', streams[plan.rank + 1], '*', 'i', id, 'b', body, 'h', header))
  end
  if plan.key then redis.call('SET', plan.key, id .. ' ' .. plan.digest, 'PX', plan.key_ttl) end
  if plan.unique ~= '' then redis.call('HSET', unique, plan.unique, id) end
  if plan.generation > 0 then requeued = requeued + 1 end
end

local call = redis.call
for n = 1, count do
  if not taken[n] then
    fresh = fresh + 1
    if plans[n] then
      put(ids[n], ARGV[3 * n + 2], plans[n])
    else
      local id, rank = ids[n], ARGV[3 * n + 1]
      local size = #index
      index[size + 1] = id
      index[size + 2] = rank .. call('XADD', streams[rank + 1], '*', 'i', id, 'b', ARGV[3 * n + 2])
    end
  end
end

if fresh > 0 then
  redis.call('HSET', jobs, unpack(index))
  redis.call('HINCRBY', meta, 'enqueued', fresh)
end
-- Promoters know of the first due job when they look, each 5 s: one is woken for another that is due before that.
if soonest and soonest - now < 10000 and tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) == soonest
  and redis.pcall('LLEN', bell) == 0 then
  redis.call('RPUSH', bell, 1)
end
if requeued > 0 then redis.call('HINCRBY', meta, 'requeued', requeued) end
local answer = table.concat(answers, '\n')
redis.call('SET', producer, string.format('%.0f %s', number, answer), 'PX', remember_ms)
return answer
