#!lua flags=allow-oom
-- settle: carry out the outcomes of a batch of deliveries, all taken by one consumer.
-- The fence "alive" is a worker settling its own: refused once it has been reaped. The fence "dead" is the reaper
-- settling for a worker whose lease has run out: refused while that worker lives.
-- returns {1} done, {0} fenced and nothing changed, {2, entry id...} done but for these, which were settled before
local critical    = KEYS[1]          -- STREAM
local high        = KEYS[2]          -- STREAM
local medium      = KEYS[3]          -- STREAM
local low         = KEYS[4]          -- STREAM
local jobs        = KEYS[5]          -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed     = KEYS[6]          -- ZSET  id -> due, ms
local workers     = KEYS[7]          -- ZSET  consumer -> lease deadline, ms
local cancel      = KEYS[8]          -- SET   ids asked to stop
local dead        = KEYS[9]          -- STREAM dead letters
local journal     = KEYS[10]         -- STREAM n: count, w: worker, r: lines
local meta        = KEYS[11]         -- HASH  queue flags and counters
local unique      = KEYS[12]         -- HASH  unique key -> owning id
local progress    = KEYS[13]         -- HASH  id -> JSON
-- KEYS[14..]                           STRING, TTL  kept results
local fence       = ARGV[1]          -- alive | dead
local consumer    = ARGV[2]
local lines       = ARGV[3]          -- history: a line per delivery, plain ones first, or ''
local journal_max = tonumber(ARGV[4])  -- bytes
local n_critical  = tonumber(ARGV[5])  -- plain completions of each stream
local n_high      = tonumber(ARGV[6])
local n_medium    = tonumber(ARGV[7])
local n_low       = tonumber(ARGV[8])
-- ARGV[9..]                            entry ids of the plain completions, by stream; their job ids in the same order;
--                                      then 12 of each other delivery: kind, rank, entry id, job id, unique key,
--                                      header, delay ms, body, note, error or result JSON, result key ordinal, result ttl ms
--                                      kinds: completed, again, later, dead, cancelled, expired
--                                      note: reason of a dead letter; of again and later: the line if cancelled instead

local streams = {critical, high, medium, low}
local plain = {n_critical, n_high, n_medium, n_low}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local deadline = redis.call('ZSCORE', workers, consumer)
if fence == 'alive' and not deadline then return {0} end
if fence == 'dead' and deadline and tonumber(deadline) >= now then return {0} end

-- A key of a wrong type must fail here, before the first write.
for _, stream in ipairs(streams) do redis.call('XLEN', stream) end
local asked_to_stop = redis.call('SCARD', cancel) > 0
redis.call('HLEN', jobs)
redis.call('ZCARD', delayed)
redis.call('XLEN', dead)
redis.call('XLEN', journal)
redis.call('HLEN', meta)
redis.call('HLEN', unique)
local any_progress = redis.call('HLEN', progress) > 0

local n_plain = n_critical + n_high + n_medium + n_low
local first_entry, first_id = 9, 9 + n_plain
local first_item = 9 + 2 * n_plain
local n_items = (#ARGV - first_item + 1) / 12
local function item(n)
  local at = first_item + 12 * (n - 1)
  return {kind = ARGV[at], rank = ARGV[at + 1], entry = ARGV[at + 2], id = ARGV[at + 3], unique = ARGV[at + 4],
          header = ARGV[at + 5], delay = tonumber(ARGV[at + 6]), body = ARGV[at + 7], note = ARGV[at + 8],
          detail = ARGV[at + 9], result = tonumber(ARGV[at + 10]), result_ttl = ARGV[at + 11]}
end

-- Acknowledging is also the check: an entry is delivered to one consumer only and never handed over, so what was
-- still pending is ours. In a batch where anything was not, each job is compared with the index instead.
local acked, at = 0, first_entry
for rank, n in ipairs(plain) do
  if n > 0 then acked = acked + redis.call('XACK', streams[rank], 'workers', unpack(ARGV, at, at + n - 1)) end
  at = at + n
end
local items = {}
for n = 1, n_items do
  items[n] = item(n)
  acked = acked + redis.call('XACK', streams[items[n].rank + 1], 'workers', items[n].entry)
end
local exact = acked == n_plain + n_items
local refused, split, line_count = {}, nil, n_plain + n_items
local settled = {}  -- ids settled one by one: the items, and the plain ones of a batch that is not exact

local function history()
  if not split and lines ~= '' then
    split = {}
    for line in string.gmatch(lines, '[^\n]+') do split[#split + 1] = line end
  end
  return split
end

-- Strikes delivery number n of the batch from its history.
local function refuse(n, entry)
  refused[#refused + 1] = entry
  line_count = line_count - 1
  if history() then split[n] = '' end
end

local completed, died, cancelled, expired = 0, 0, 0, 0

local function settle_plain_one_by_one()
  local n = 0
  for rank, count in ipairs(plain) do
    for _ = 1, count do
      local entry, id = ARGV[first_entry + n], ARGV[first_id + n]
      n = n + 1
      if redis.call('HGET', jobs, id) == (rank - 1) .. entry then
        redis.call('XDEL', streams[rank], entry)
        redis.call('HDEL', jobs, id)
        completed = completed + 1
        settled[#settled + 1] = id
      else
        refuse(n, entry)
      end
    end
  end
end

if exact then
  at = first_entry
  for rank, n in ipairs(plain) do
    if n > 0 then redis.call('XDEL', streams[rank], unpack(ARGV, at, at + n - 1)) end
    at = at + n
  end
  if n_plain > 0 then completed = redis.call('HDEL', jobs, unpack(ARGV, first_id, first_id + n_plain - 1)) end
else
  settle_plain_one_by_one()
end

local function finish(job, outcome)
  redis.call('HDEL', jobs, job.id)
  if job.unique ~= '' and redis.call('HGET', unique, job.unique) == job.id then
    redis.call('HDEL', unique, job.unique)
  end
  if job.result > 0 then
    local detail = job.detail ~= '' and job.detail or 'null'
    local result, err = 'null', 'null'
    if outcome == 'completed' then result = detail else err = detail end
    local kept = '{"outcome":"' .. outcome .. '","result":' .. result .. ',"error":' .. err .. '}'
    redis.call('SET', KEYS[13 + job.result], kept, 'PX', job.result_ttl)
  end
end

local function again(job)
  local entry
  if job.header == '' then
    entry = redis.call('XADD', streams[job.rank + 1], '*', 'i', job.id, 'b', job.body)
  else
    entry = redis.call('XADD', streams[job.rank + 1], '*', 'i', job.id, 'b', job.body, 'h', job.header)
  end
  redis.call('HSET', jobs, job.id, job.rank .. entry)
end

local function later(job)
  redis.call('ZADD', delayed, now + job.delay, job.id)
  redis.call('HSET', jobs, job.id, 'd' .. job.rank .. job.header .. '\n' .. job.body)
end

local function bury(job)
  redis.call('XADD', dead, '*', 'i', job.id, 'b', job.body, 'h', job.header, 'p', job.rank,
    'r', job.note, 'e', job.detail, 'w', consumer)
  finish(job, 'dead')
  died = died + 1
end

for n, job in ipairs(items) do
  if exact or redis.call('HGET', jobs, job.id) == job.rank .. job.entry then
    redis.call('XDEL', streams[job.rank + 1], job.entry)
    settled[#settled + 1] = job.id
    local kind = job.kind
    if asked_to_stop and (kind == 'again' or kind == 'later')
        and redis.call('SISMEMBER', cancel, job.id) == 1 then
      kind = 'cancelled'
      if job.note ~= '' and history() then split[n_plain + n] = job.note end
    end
    if kind == 'completed' then finish(job, kind) completed = completed + 1
    elseif kind == 'again' then again(job)
    elseif kind == 'later' then later(job)
    elseif kind == 'dead' then bury(job)
    elseif kind == 'cancelled' then finish(job, kind) cancelled = cancelled + 1
    elseif kind == 'expired' then finish(job, kind) expired = expired + 1
    end
  else
    refuse(n_plain + n, job.entry)
  end
end

local function count(counter, n)
  if n > 0 then redis.call('HINCRBY', meta, counter, n) end
end
count('completed', completed)
count('dead', died)
count('cancelled', cancelled)
count('expired', expired)

-- Settled jobs need no stop request and no progress any more. One refused here may be somebody else's by now.
local function forget(key, removal)
  if exact and n_plain > 0 then redis.call(removal, key, unpack(ARGV, first_id, first_id + n_plain - 1)) end
  for _, id in ipairs(settled) do redis.call(removal, key, id) end
end
if asked_to_stop then forget(cancel, 'SREM') end
if any_progress then forget(progress, 'HDEL') end

-- The journal alone is bounded: the oldest history goes first, and is counted.
local function append(text, n)
  local bytes = tonumber(redis.call('HGET', meta, 'journal_bytes') or '0') + #text
  local dropped = 0
  for _ = 1, 1000 do
    if bytes <= journal_max then break end
    local oldest = redis.call('XRANGE', journal, '-', '+', 'COUNT', 1)[1]
    if not oldest then break end
    redis.call('XDEL', journal, oldest[1])
    dropped = dropped + oldest[2][2]
    bytes = bytes - #oldest[2][6]
  end
  redis.call('XADD', journal, '*', 'n', n, 'w', consumer, 'r', text)
  redis.call('HSET', meta, 'journal_bytes', bytes)
  count('journal_dropped', dropped)
end
if split then
  local kept = {}
  for _, line in ipairs(split) do
    if line ~= '' then kept[#kept + 1] = line end
  end
  lines = table.concat(kept, '\n')
end
if lines ~= '' then append(lines, line_count) end

if fence == 'dead' and deadline then redis.call('ZREM', workers, consumer) end
if #refused > 0 then return {2, unpack(refused)} end
return {1}
