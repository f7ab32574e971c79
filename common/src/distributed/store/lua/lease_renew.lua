-- Extends a lease. KEYS: the lease. ARGV: holder, fence, expires and now in microseconds, lifetime of the key in ms.
local key = KEYS[1]
if redis.call('TYPE', key).ok ~= 'hash' then return 0 end
local known = redis.call('HMGET', key, 'holder', 'fence', 'expires')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return 0 end
if (tonumber(known[3] or '') or 0) <= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', key, 'expires', ARGV[3])
redis.call('PEXPIRE', key, ARGV[5])
return 1
