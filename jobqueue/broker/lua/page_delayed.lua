#!lua flags=no-writes,allow-oom
-- page_delayed: a page of the jobs that wait for their time, next due first.
-- returns {cursor of the next page, or '' when there is none,
--          {{id, then as locate}...}}
local jobs      = KEYS[1]            -- HASH  id -> <rank><entry id> | d<rank><header>\n<body>
local delayed   = KEYS[2]            -- ZSET  id -> due, ms
local after_due = ARGV[1]            -- ms; -inf before the first
local after_id  = ARGV[2]
local limit     = tonumber(ARGV[3])  -- jobs
local max_bytes = tonumber(ARGV[4])  -- of bodies; one job may have more

-- How many come up to (after_due, after_id), which may be gone: any number of jobs may be due at one instant, so
-- they are searched by halves. Ids are UUIDs in one spelling, which sort alike everywhere.
local first, past = redis.call('ZCOUNT', delayed, '-inf', '(' .. after_due), redis.call('ZCOUNT', delayed, '-inf', after_due)
while first < past do
  local middle = math.floor((first + past) / 2)
  if redis.call('ZRANGE', delayed, middle, middle)[1] <= after_id then first = middle + 1 else past = middle end
end

local page, bytes, last = {}, 0, ''
local found = redis.call('ZRANGE', delayed, first, first + limit, 'WITHSCORES')
for n = 1, #found, 2 do
  if n > 2 * limit then return {last, page} end
  local id, due = found[n], found[n + 1]
  local place = redis.call('HGET', jobs, id)
  if place and string.sub(place, 1, 1) == 'd' then
    bytes = bytes + #place
    if bytes > max_bytes and #page > 0 then return {last, page} end
    local cut = string.find(place, '\n', 3, true)
    page[#page + 1] = {id, 'd', string.sub(place, 2, 2), string.sub(place, 3, cut - 1), string.sub(place, cut + 1),
                       due, '', 0, '', 0}
  end
  last = due .. '-' .. id
end
return {'', page}
