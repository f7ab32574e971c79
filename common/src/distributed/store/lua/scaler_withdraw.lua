-- A scaler is there no more. KEYS: the beginning of all names. ARGV: name.
local key = KEYS[1] .. 'scalers'
if redis.call('TYPE', key).ok == 'zset' then redis.call('ZREM', key, ARGV[1]) end
return 1
