-- The end of a claim: done, buried, parked, or ready again at once. For the last two the next copy is
-- confirmed already.
-- KEYS: job, claims, parked, lane front, lane backlog.
-- ARGV: job, token, state, generation, until (us, 0 for none), body (of a parked job), seconds to keep, project, at (us).
-- Answers 1; 0 when a later claim was given out, so that this one is lost.
local job, token, state, generation = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local known = redis.call('HMGET', KEYS[1], 'g', 't')
local recorded, newest = tonumber(known[1]) or -1, tonumber(known[2]) or 0
if newest > token then return 0 end
redis.call('HSET', KEYS[1], 's', state, 'g', string.format('%.0f', math.max(recorded, generation)),
  't', ARGV[2], 'p', ARGV[8], 'at', ARGV[9])
redis.call('HDEL', KEYS[1], 'b', 'u', 'e', 'i', 'w')
redis.call('ZREM', KEYS[2], job)
redis.call('ZREM', KEYS[3], job)
redis.call('SREM', KEYS[4], job)
redis.call('SREM', KEYS[5], job)
if state == 'parked' then
  redis.call('HSET', KEYS[1], 'u', ARGV[5], 'b', ARGV[6], 'd', '0')
  redis.call('ZADD', KEYS[3], ARGV[5], job)
elseif state == 'ready' then
  redis.call('HSET', KEYS[1], 'd', '0')
  redis.call('SADD', KEYS[4], job)
  redis.call('EXPIRE', KEYS[4], ARGV[7])
end
redis.call('EXPIRE', KEYS[1], ARGV[7])
return 1
