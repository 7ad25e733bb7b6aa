#!lua flags=allow-oom
-- trim: forget what Postgres has confirmed, a page of it.
-- returns how many entries went; call again until 0; -1 when another server is the primary now: its entries are others
local shipped = KEYS[1]              -- STREAM journal or dead letters
local meta    = KEYS[2]              -- HASH  queue flags and counters
local upto    = ARGV[1]              -- entry id, inclusive
local limit   = ARGV[2]
local journal = ARGV[3]              -- 1: it is the journal, whose bytes are counted
local primary = ARGV[4]              -- the server that was read from; '' where it would not say

if primary ~= '' and not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. primary, 1, true) then
  return -1
end

local entries = redis.call('XRANGE', shipped, '-', upto, 'COUNT', limit)
if #entries == 0 then return 0 end
redis.call('HLEN', meta)
local ids, bytes = {}, 0
for n, entry in ipairs(entries) do
  ids[n] = entry[1]
  if journal == '1' then bytes = bytes + #entry[2][6] end
end
redis.call('XDEL', shipped, unpack(ids))
if bytes > 0 then redis.call('HINCRBY', meta, 'journal_bytes', -bytes) end
return #entries
