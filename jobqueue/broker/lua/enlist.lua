#!lua flags=allow-oom
-- enlist: note the names of queues where they can be listed. A full Redis allows it, so that workers can start and drain.
-- returns how many were new
local names = KEYS[1]                -- SET   the names of all queues of a namespace
-- ARGV[1..]                            names

return redis.call('SADD', names, unpack(ARGV))
