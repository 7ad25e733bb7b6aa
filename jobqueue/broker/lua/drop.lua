#!lua flags=allow-oom
-- drop: delete a dead letter held in Redis, by hand.
-- returns 1 deleted, 0 there is none
local dead   = KEYS[1]               -- STREAM dead letters
local meta   = KEYS[2]               -- HASH  queue flags and counters
local letter = ARGV[1]               -- its entry id

redis.call('HLEN', meta)
local gone = redis.call('XDEL', dead, letter)
if gone > 0 then redis.call('HINCRBY', meta, 'purged', gone) end
return gone
