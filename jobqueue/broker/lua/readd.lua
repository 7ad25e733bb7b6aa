#!lua flags=allow-oom
-- readd: queue a delivered job again that is pending with nobody, as after XGROUP DELCONSUMER by hand: no worker
-- would ever be given it, no reaper would find it. Its counters stay as they are.
-- returns the job's id, or '' when it is not so and nothing was changed
local stream = KEYS[1]               -- STREAM
local jobs   = KEYS[2]               -- HASH  id -> <rank><entry id>
local rank   = ARGV[1]
local entry  = ARGV[2]               -- entry id

local found = redis.call('XRANGE', stream, entry, entry)[1]
if not found then return '' end
local id = found[2][2]
if redis.call('HGET', jobs, id) ~= rank .. entry then return '' end
if #redis.call('XPENDING', stream, 'workers', entry, entry, 1) > 0 then return '' end
local delivered = '0-0'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
  end
end
if #redis.call('XRANGE', stream, '(' .. delivered, entry, 'COUNT', 1) > 0 then return '' end
redis.call('XDEL', stream, entry)
redis.call('HSET', jobs, id, rank .. redis.call('XADD', stream, '*', unpack(found[2])))
return id
