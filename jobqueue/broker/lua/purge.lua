#!lua flags=allow-oom
-- purge: cancel jobs that wait, a page of them. Running ones are left alone.
-- returns {how many went, how many delayed jobs of other ranks were seen}; call again until both are 0
local critical     = KEYS[1]         -- STREAM
local high         = KEYS[2]         -- STREAM
local medium       = KEYS[3]         -- STREAM
local low          = KEYS[4]         -- STREAM
local jobs         = KEYS[5]         -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed      = KEYS[6]         -- ZSET  id -> due, ms
local meta         = KEYS[7]         -- HASH  queue flags and counters
local unique       = KEYS[8]         -- HASH  unique key -> owning id
local ranks        = ARGV[1]         -- ranks to purge, e.g. 0123
local with_delayed = ARGV[2]         -- 1: delayed jobs of these ranks too
local limit        = tonumber(ARGV[3])
local skip         = tonumber(ARGV[4])  -- delayed jobs of other ranks already seen

-- A key of a wrong type must fail here, before the first write.
for _, stream in ipairs({critical, high, medium, low}) do redis.call('XLEN', stream) end
redis.call('HLEN', jobs)
redis.call('ZCARD', delayed)
redis.call('HLEN', meta)
redis.call('HLEN', unique)

local gone, skipped = 0, 0
local function release(id, header)
  local lock = string.match(header or '', '^%d+ %d+ %d+ %d+ %d+ %S+ (%S+)$')
  if lock and redis.call('HGET', unique, lock) == id then redis.call('HDEL', unique, lock) end
  redis.call('HDEL', jobs, id)
  gone = gone + 1
end

for rank, stream in ipairs({critical, high, medium, low}) do
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if not groups.err and gone < limit and string.find(ranks, rank - 1, 1, true) then
    local delivered = '0-0'
    for _, group in ipairs(groups) do
      for i = 1, #group, 2 do
        if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
      end
    end
    local waiting = redis.call('XRANGE', stream, '(' .. delivered, '+', 'COUNT', limit - gone)
    for _, entry in ipairs(waiting) do
      redis.call('XDEL', stream, entry[1])
      release(entry[2][2], entry[2][6])
    end
  end
end
if with_delayed == '1' and gone < limit then
  for _, id in ipairs(redis.call('ZRANGE', delayed, skip, skip + limit - gone - 1)) do
    local place = redis.call('HGET', jobs, id) or 'd-'
    if string.find(ranks, string.sub(place, 2, 2), 1, true) then
      redis.call('ZREM', delayed, id)
      release(id, string.match(place, '^d%d([^\n]*)\n'))
    else
      skipped = skipped + 1
    end
  end
end
if gone > 0 then redis.call('HINCRBY', meta, 'cancelled', gone) end
return {gone, skipped}
