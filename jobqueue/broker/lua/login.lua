#!lua flags=allow-oom
-- login: begin a dashboard session. A full Redis allows it: that is when somebody has to look.
-- returns OK
local session = KEYS[1]              -- STRING, TTL  key id
local key_id  = ARGV[1]
local ttl_ms  = ARGV[2]

return redis.call('SET', session, key_id, 'PX', ttl_ms)
