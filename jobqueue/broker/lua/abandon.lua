#!lua flags=allow-oom
-- abandon: give up a claim: nothing was done, the next request is the first.
-- returns 1, or 0 when there is no such claim
local answer = KEYS[1]               -- HASH, TTL  digest, and status and body once they are known
local digest = ARGV[1]

local held = redis.call('HMGET', answer, 'digest', 'status')
if held[1] ~= digest or held[2] then return 0 end
return redis.call('PEXPIRE', answer, 0)  -- deletes; DEL is not among the commands of the restricted user
