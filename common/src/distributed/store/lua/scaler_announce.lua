-- A scaler says that it is there; answers who is. KEYS: the beginning of all names. ARGV: name, expires and now in
-- microseconds, up to when one that has expired is forgotten, lifetime of the key in ms. Who has expired by the clock
-- of one process may be there by the clock of another: it is not forgotten at once.
local key = KEYS[1] .. 'scalers'
local kind = redis.call('TYPE', key).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('UNLINK', key) end
redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[4])
redis.call('ZADD', key, ARGV[2], ARGV[1])
if redis.call('PTTL', key) < tonumber(ARGV[5]) then redis.call('PEXPIRE', key, ARGV[5]) end
return redis.call('ZRANGEBYSCORE', key, '(' .. ARGV[3], '+inf')
