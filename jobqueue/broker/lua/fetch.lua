#!lua flags=allow-oom
-- fetch: take jobs from the top stream down, and from a lower one only when those above it have no more.
-- returns what XREADGROUP does: {{stream, {{entry id, {field, value...}}...}}...}, empty when nothing is ready
-- KEYS[1..]                           STREAM, in the order of service
local consumer = ARGV[1]
local want     = tonumber(ARGV[2])   -- jobs

local taken = {}
for _, stream in ipairs(KEYS) do
  local reply = redis.pcall('XREADGROUP', 'GROUP', 'workers', consumer, 'COUNT', want, 'STREAMS', stream, '>')
  if reply and reply.err then
    -- What was taken before must be told; the next call meets the error again.
    if #taken == 0 then return reply end
    break
  end
  if reply then
    taken[#taken + 1] = reply[1]
    want = want - #reply[1][2]
    if want <= 0 then break end
  end
end
return taken
