#!lua flags=allow-oom
-- hasten: make a delayed job ready now, as promote does when its time has come.
-- returns 0 not live, 1 it is ready (now, or was already), 2 it runs
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local jobs     = KEYS[5]             -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed  = KEYS[6]             -- ZSET  id -> due, ms
local id       = ARGV[1]

local place = redis.call('HGET', jobs, id)
if not place then return 0 end
local streams = {critical, high, medium, low}
if string.sub(place, 1, 1) ~= 'd' then
  local stream, entry = streams[string.sub(place, 1, 1) + 1], string.sub(place, 2)
  return #redis.call('XPENDING', stream, 'workers', entry, entry, 1) > 0 and 2 or 1
end
local rank = string.sub(place, 2, 2)
local stream = streams[rank + 1]
-- A key of a wrong type must fail here, before the first write.
redis.call('XLEN', stream)
redis.call('ZCARD', delayed)

local cut = string.find(place, '\n', 3, true)
local header, body = string.sub(place, 3, cut - 1), string.sub(place, cut + 1)
local entry
if header == '' then
  entry = redis.call('XADD', stream, '*', 'i', id, 'b', body)
else
  entry = redis.call('XADD', stream, '*', 'i', id, 'b', body, 'h', header)
end
redis.call('HSET', jobs, id, rank .. entry)
redis.call('ZREM', delayed, id)
return 1
