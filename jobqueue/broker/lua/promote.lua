#!lua flags=allow-oom
-- promote: make due jobs ready, oldest due first, at most a batch of them.
-- returns {promoted, ms until the next is due (-1: none waits), members that had no job and were dropped}
local critical  = KEYS[1]            -- STREAM
local high      = KEYS[2]            -- STREAM
local medium    = KEYS[3]            -- STREAM
local low       = KEYS[4]            -- STREAM
local jobs      = KEYS[5]            -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed   = KEYS[6]            -- ZSET  id -> due, ms
local limit     = ARGV[1]            -- jobs
local max_bytes = tonumber(ARGV[2])

local streams = {critical, high, medium, low}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, limit)
local promoted, orphans = 0, 0
if #ids > 0 then
  for _, stream in ipairs(streams) do redis.call('XLEN', stream) end
  local places = redis.call('HMGET', jobs, unpack(ids))
  local gone, index, bytes = {}, {}, 0
  for n, id in ipairs(ids) do
    local place = places[n]
    if place and string.sub(place, 1, 1) == 'd' then
      bytes = bytes + #place
      if bytes > max_bytes and promoted > 0 then break end
      local rank = string.sub(place, 2, 2)
      local cut = string.find(place, '\n', 3, true)
      local header, body = string.sub(place, 3, cut - 1), string.sub(place, cut + 1)
      local entry
      if header == '' then
        entry = redis.call('XADD', streams[rank + 1], '*', 'i', id, 'b', body)
      else
        entry = redis.call('XADD', streams[rank + 1], '*', 'i', id, 'b', body, 'h', header)
      end
      promoted = promoted + 1
      index[#index + 1] = id
      index[#index + 1] = rank .. entry
    else
      orphans = orphans + 1
    end
    gone[#gone + 1] = id
  end
  if #index > 0 then redis.call('HSET', jobs, unpack(index)) end
  redis.call('ZREM', delayed, unpack(gone))
end
local next = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local wait = -1
if next[2] then wait = math.max(0, next[2] - now) end
return {promoted, wait, orphans}
