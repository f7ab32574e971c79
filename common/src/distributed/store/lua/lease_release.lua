-- Frees a lease, if it is still held; its token stays known. KEYS: the lease. ARGV: holder, fence.
local key = KEYS[1]
if redis.call('TYPE', key).ok ~= 'hash' then return 0 end
local known = redis.call('HMGET', key, 'holder', 'fence')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then return 0 end
redis.call('HSET', key, 'holder', '')
return 1
