#!lua flags=no-writes,allow-oom
-- page_queued: a page of the jobs that are ready, in the order in which they will be taken.
-- What is ready lies behind the last entry that was delivered: a page costs no more for what is running before it.
-- returns {cursor of the next page, or '' when there is none,
--          {{id, then as locate}...}}
local critical    = KEYS[1]          -- STREAM
local high        = KEYS[2]          -- STREAM
local medium      = KEYS[3]          -- STREAM
local low         = KEYS[4]          -- STREAM
local after_rank  = tonumber(ARGV[1])
local after_entry = ARGV[2]          -- entry id; 0-0 before the first
local limit       = tonumber(ARGV[3])   -- jobs
local max_bytes   = tonumber(ARGV[4])   -- of bodies; one job may have more

local function delivered_upto(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return '0-0' end
  for _, group in ipairs(groups) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then return group[i + 1] end
    end
  end
  return '0-0'
end

local function later(one, other)
  local one_ms, one_n = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_n = string.match(other, '^(%d+)-(%d+)$')
  if one_ms == other_ms then return tonumber(one_n) > tonumber(other_n) and one or other end
  return tonumber(one_ms) > tonumber(other_ms) and one or other
end

local page, bytes, last = {}, 0, ''
for rank, stream in ipairs({critical, high, medium, low}) do
  local place = tostring(rank - 1)
  if rank - 1 >= after_rank then
    local from = delivered_upto(stream)
    if rank - 1 == after_rank then from = later(from, after_entry) end
    repeat
      local found = redis.call('XRANGE', stream, '(' .. from, '+', 'COUNT', 10)
      for _, each in ipairs(found) do
        local fields = each[2]
        bytes = bytes + #fields[4]
        if #page == limit or bytes > max_bytes and #page > 0 then return {last, page} end
        page[#page + 1] = {fields[2], 'q', place, fields[6] or '', fields[4], '0', '', 0, '', 0}
        from = each[1]
        last = place .. '-' .. from
      end
    until #found < 10
  end
end
return {'', page}
