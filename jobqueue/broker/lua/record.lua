#!lua flags=allow-oom
-- record: append to the audit log. A full Redis allows it: what is done then is to be known, too.
-- returns the entry's id
local audit = KEYS[1]                -- STREAM e: JSON
local most  = ARGV[1]                -- how many entries are kept, or a few more
local entry = ARGV[2]

return redis.call('XADD', audit, 'MAXLEN', '~', most, '*', 'e', entry)
