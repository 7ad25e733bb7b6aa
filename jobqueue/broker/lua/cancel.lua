#!lua flags=allow-oom
-- cancel: end a job that waits; ask the worker of one that runs.
-- returns 0 not live, 1 cancelled, 2 its worker was asked
local critical    = KEYS[1]          -- STREAM
local high        = KEYS[2]          -- STREAM
local medium      = KEYS[3]          -- STREAM
local low         = KEYS[4]          -- STREAM
local jobs        = KEYS[5]          -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed     = KEYS[6]          -- ZSET  id -> due, ms
local cancel      = KEYS[7]          -- SET   ids asked to stop
local meta        = KEYS[8]          -- HASH  queue flags and counters
local unique      = KEYS[9]          -- HASH  unique key -> owning id
local journal     = KEYS[10]         -- STREAM n: count, w: worker, r: lines
local id          = ARGV[1]
local line        = ARGV[2]          -- its history if it ends here, or ''

local place = redis.call('HGET', jobs, id)
if not place then return 0 end
local streams = {critical, high, medium, low}
-- A key of a wrong type must fail here, before the first write.
redis.call('SCARD', cancel)
redis.call('HLEN', unique)
redis.call('XLEN', journal)
redis.call('HLEN', meta)
redis.call('ZCARD', delayed)

local header = ''
if string.sub(place, 1, 1) == 'd' then
  header = string.sub(place, 3, string.find(place, '\n', 3, true) - 1)
  redis.call('ZREM', delayed, id)
else
  local stream, entry = streams[string.sub(place, 1, 1) + 1], string.sub(place, 2)
  if #redis.call('XPENDING', stream, 'workers', entry, entry, 1) > 0 then
    redis.call('SADD', cancel, id)
    return 2
  end
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if found and found[2][6] then header = found[2][6] end
  redis.call('XDEL', stream, entry)
end
redis.call('HDEL', jobs, id)
local lock = string.match(header, '^%d+ %d+ %d+ %d+ %d+ %S+ (%S+)$')
if lock and redis.call('HGET', unique, lock) == id then redis.call('HDEL', unique, lock) end
redis.call('HINCRBY', meta, 'cancelled', 1)
if line ~= '' then
  redis.call('XADD', journal, '*', 'n', 1, 'w', '', 'r', line)
  redis.call('HINCRBY', meta, 'journal_bytes', #line)
end
return 1
