#!lua flags=no-writes,allow-oom
-- page_running: a page of the jobs that workers hold, those first that became ready first.
-- returns {cursor of the next page, or '' when there is none,
--          {{id, then as locate}...}}
local critical    = KEYS[1]          -- STREAM
local high        = KEYS[2]          -- STREAM
local medium      = KEYS[3]          -- STREAM
local low         = KEYS[4]          -- STREAM
local cancel      = KEYS[5]          -- SET   ids asked to stop
local progress    = KEYS[6]          -- HASH  id -> JSON
local after_rank  = tonumber(ARGV[1])
local after_entry = ARGV[2]          -- entry id; 0-0 before the first
local limit       = tonumber(ARGV[3])   -- jobs
local max_bytes   = tonumber(ARGV[4])   -- of bodies; one job may have more

local streams, held = {critical, high, medium, low}, {}
for rank, stream in ipairs(streams) do
  -- Entries of one id in two streams: the higher stream comes first.
  local from = rank - 1 > after_rank and after_entry or '(' .. after_entry
  local pending = redis.pcall('XPENDING', stream, 'workers', from, '+', limit + 1)
  for _, each in ipairs(pending.err and {} or pending) do
    local ms, n = string.match(each[1], '^(%d+)-(%d+)$')
    held[#held + 1] = {ms = tonumber(ms), n = tonumber(n), rank = rank, entry = each[1],
                       worker = each[2], running_ms = each[3]}
  end
end
table.sort(held, function(one, other)
  if one.ms ~= other.ms then return one.ms < other.ms end
  if one.n ~= other.n then return one.n < other.n end
  return one.rank < other.rank
end)

local page, bytes, last = {}, 0, ''
for n, each in ipairs(held) do
  if n > limit then return {last, page} end
  -- Missing: deleted by hand.
  local found = redis.call('XRANGE', streams[each.rank], each.entry, each.entry)[1]
  local place = tostring(each.rank - 1)
  if found then
    local id, body, header = found[2][2], found[2][4], found[2][6] or ''
    bytes = bytes + #body
    if bytes > max_bytes and #page > 0 then return {last, page} end
    page[#page + 1] = {id, 'r', place, header, body, '0', each.worker, each.running_ms,
                       redis.call('HGET', progress, id) or '', redis.call('SISMEMBER', cancel, id)}
  end
  last = place .. '-' .. each.entry
end
return {'', page}
