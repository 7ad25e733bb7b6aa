#!lua flags=allow-oom
-- declare: make a queue: its groups, from the beginning of each stream, its version and its epoch.
-- returns the protocol version that the queue has
local critical = KEYS[1]             -- STREAM
local high     = KEYS[2]             -- STREAM
local medium   = KEYS[3]             -- STREAM
local low      = KEYS[4]             -- STREAM
local meta     = KEYS[5]             -- HASH  queue flags and counters
local epoch    = ARGV[1]             -- identity of this data, should there be none yet
local version  = ARGV[2]             -- protocol version of the caller

local made_for = redis.call('HGET', meta, 'version')
if made_for and made_for ~= version then return made_for end
-- A key of a wrong type must fail here, before the first write.
for _, stream in ipairs({critical, high, medium, low}) do redis.call('XLEN', stream) end
redis.call('HSETNX', meta, 'epoch', epoch)
redis.call('HSETNX', meta, 'version', version)
for _, stream in ipairs({critical, high, medium, low}) do
  local made = redis.pcall('XGROUP', 'CREATE', stream, 'workers', '0', 'MKSTREAM')
  if made.err and not string.find(made.err, '^BUSYGROUP') then
    return made
  end
end
return version
