#!lua
-- requeue: a dead letter held in Redis comes back, once, with a fresh budget of attempts.
-- returns {0} no such letter, {1} queued, {2, id} its unique key is held by this job, {3} the job lives already
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local jobs     = KEYS[5]             -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local dead     = KEYS[6]             -- STREAM dead letters
local meta     = KEYS[7]             -- HASH  queue flags and counters
local unique   = KEYS[8]             -- HASH  unique key -> owning id
local letter   = ARGV[1]             -- its entry id
local edited   = ARGV[2]             -- the body to queue in place of the one it holds, or ''

local found = redis.call('XRANGE', dead, letter, letter)[1]
if not found then return {0} end
local id, body, header, rank = found[2][2], found[2][4], found[2][6], found[2][8]
local generation, lock = string.match(header, '^%d+ %d+ (%d+) %d+ %d+ %S+ (%S*)$')
if edited ~= '' then body = edited end
local stream = ({critical, high, medium, low})[rank + 1]
-- A key of a wrong type must fail here, before the first write.
redis.call('XLEN', stream)
redis.call('HLEN', meta)
redis.call('HLEN', unique)
local alive = redis.call('HEXISTS', jobs, id) == 1
if lock ~= '' then
  local owner = redis.call('HGET', unique, lock)
  if owner and owner ~= id then return {2, owner} end
end
redis.call('HINCRBY', meta, 'requeued', 1)
redis.call('XDEL', dead, letter)
if alive then return {3} end
local fresh = string.format('1 0 %d 0 0 - %s', generation + 1, lock)
local entry = redis.call('XADD', stream, '*', 'i', id, 'b', body, 'h', fresh)
redis.call('HSET', jobs, id, rank .. entry)
redis.call('HINCRBY', meta, 'enqueued', 1)
if lock ~= '' then redis.call('HSET', unique, lock, id) end
return {1}
