-- Binds an idempotency key, or answers what it is bound to. ARGV: scope, body, expires and now in microseconds,
-- lifetime of the key in ms, 1 to overwrite what cannot be read.
local key = P .. 'reserve:' .. ARGV[1]
local kind = redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', key) end
local known = redis.call('HMGET', key, 'expires', 'body')
if known[2] and (tonumber(known[1] or '') or 0) > tonumber(ARGV[4]) and ARGV[6] ~= '1' then return known[2] end
redis.call('HSET', key, 'expires', ARGV[3], 'body', ARGV[2])
redis.call('PEXPIRE', key, ARGV[5])
return false
