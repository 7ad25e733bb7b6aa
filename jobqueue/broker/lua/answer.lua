#!lua flags=allow-oom
-- answer: keep the answer to the first request under an idempotency key.
-- returns 1, or 0 when another answer, or a request with another body, came first: the claim had run out
local answer = KEYS[1]               -- HASH, TTL  digest, and status and body once they are known
local digest = ARGV[1]
local status = ARGV[2]
local body   = ARGV[3]
local ttl_ms = ARGV[4]

local held = redis.call('HMGET', answer, 'digest', 'status')
if held[1] and (held[1] ~= digest or held[2]) then return 0 end
redis.call('HSET', answer, 'digest', digest, 'status', status, 'body', body)
redis.call('PEXPIRE', answer, ttl_ms)
return 1
