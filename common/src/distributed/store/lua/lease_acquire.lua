-- Takes a lease. KEYS: the lease. ARGV: holder, expires and now in microseconds, lifetime of the key in ms.
-- Answers the fencing token, or nothing when another has it. A token is never below the time it was given out at:
-- whatever Redis forgets, tokens grow.
local key, holder, expires, now = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local kind = redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', key) end
local known = redis.call('HMGET', key, 'holder', 'fence', 'expires')
local held_until = tonumber(known[3] or '') or 0
if known[1] and known[1] ~= '' and known[1] ~= holder and held_until > tonumber(now) then return false end
local fence = math.max((tonumber(known[2] or '') or 0) + 1, tonumber(now), 1)
if fence ~= fence or fence >= 2 ^ 53 then fence = math.max(tonumber(now), 1) end
fence = string.format('%.0f', fence)
redis.call('HSET', key, 'holder', holder, 'fence', fence, 'expires', expires)
redis.call('PEXPIRE', key, ARGV[4])
return fence
