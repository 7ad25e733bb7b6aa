#!lua flags=no-writes,allow-oom
-- locate: where a live job is.
-- returns {} when it is not live, else {place d|r|q, rank, header, body, due in ms, worker, ms since it took it,
-- progress, asked to stop 0|1}. place: d delayed, r running, q queued
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local jobs     = KEYS[5]             -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed  = KEYS[6]             -- ZSET  id -> due, ms
local cancel   = KEYS[7]             -- SET   ids asked to stop
local progress = KEYS[8]             -- HASH  id -> JSON
local id       = ARGV[1]

local place = redis.call('HGET', jobs, id)
if not place then return {} end
if string.sub(place, 1, 1) == 'd' then
  local cut = string.find(place, '\n', 3, true)
  return {'d', string.sub(place, 2, 2), string.sub(place, 3, cut - 1), string.sub(place, cut + 1),
          redis.call('ZSCORE', delayed, id) or '0', '', 0, '', 0}
end
local rank, entry = string.sub(place, 1, 1), string.sub(place, 2)
local stream = ({critical, high, medium, low})[rank + 1]
local found = redis.call('XRANGE', stream, entry, entry)[1]
if not found then return {} end
local header, body = found[2][6] or '', found[2][4]
local pending = redis.call('XPENDING', stream, 'workers', entry, entry, 1)[1]
if not pending then return {'q', rank, header, body, '0', '', 0, '', 0} end
return {'r', rank, header, body, '0', pending[2], pending[3], redis.call('HGET', progress, id) or '',
        redis.call('SISMEMBER', cancel, id)}
