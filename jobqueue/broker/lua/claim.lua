#!lua
-- claim: the first request under an idempotency key is to be answered by its caller; others hear what is known.
-- returns {new}, {busy}, {conflict}, or {done, status, body}
local answer      = KEYS[1]          -- HASH, TTL  digest, and status and body once they are known
local digest      = ARGV[1]          -- of the request
local patience_ms = ARGV[2]          -- until the claim is void

local held = redis.call('HMGET', answer, 'digest', 'status', 'body')
if not held[1] then
  redis.call('HSET', answer, 'digest', digest)
  redis.call('PEXPIRE', answer, patience_ms)
  return {'new'}
end
if held[1] ~= digest then return {'conflict'} end
if not held[2] then return {'busy'} end
return {'done', held[2], held[3]}
