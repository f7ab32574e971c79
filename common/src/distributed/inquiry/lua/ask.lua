-- Puts a question among those that wait. KEYS: the beginning of all names. ARGV: id, question, how long it may
-- wait in ms, how many may wait. Answers whether it waits; one that is asked again waits already.
local P, id, longest_ms = KEYS[1], ARGV[1], tonumber(ARGV[3])
local question, waiting = P .. 'inquiry:' .. id, P .. 'inquiries'
if redis.call('EXISTS', question) == 1 then return 1 end
local kind = redis.call('TYPE', waiting).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('UNLINK', waiting) end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', string.format('%.0f', now_ms))
if redis.call('ZCARD', waiting) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', question, 'question', ARGV[2])
redis.call('PEXPIRE', question, ARGV[3])
redis.call('ZADD', waiting, string.format('%.0f', now_ms + longest_ms), id)
if redis.call('PTTL', waiting) < longest_ms then redis.call('PEXPIRE', waiting, ARGV[3]) end
return 1
