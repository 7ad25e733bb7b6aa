#!lua flags=allow-oom
-- touch: note when API keys were last used; what is older than the note changes nothing.
-- returns how many notes changed
local known = KEYS[1]                 -- HASH  key id -> what never changes
local used  = KEYS[2]                 -- HASH  key id -> last used, ms
-- ARGV[n], ARGV[n + 1]: key id, ms

local changed = 0
for n = 1, #ARGV, 2 do
  local id, at_ms = ARGV[n], tonumber(ARGV[n + 1])
  local before = tonumber(redis.call('HGET', used, id))
  if (not before or before < at_ms) and redis.call('HEXISTS', known, id) == 1 then
    redis.call('HSET', used, id, string.format('%.0f', at_ms))
    changed = changed + 1
  end
end
return changed
