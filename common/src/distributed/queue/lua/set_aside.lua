-- The last word on a job that no claim is on: buried by the broker's limit, or discarded.
-- KEYS: job, claims, parked, lane front, lane backlog.
-- ARGV: job, state (buried or done), generation, seconds to keep, at (us).
-- Answers 1; 0 when the copy is no longer the one that carries the promise, or the job is done.
local job, state, generation = ARGV[1], ARGV[2], tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[1], 's', 'g')
local recorded = tonumber(known[2]) or -1
if known[1] == 'done' then return 0 end
if state == 'buried' and recorded > generation then return 0 end
redis.call('HSET', KEYS[1], 's', state, 'g', string.format('%.0f', math.max(recorded, generation)), 'at', ARGV[5])
redis.call('HDEL', KEYS[1], 'b', 'u', 'e', 'i', 'w')
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('ZREM', KEYS[2], job)
redis.call('ZREM', KEYS[3], job)
redis.call('SREM', KEYS[4], job)
redis.call('SREM', KEYS[5], job)
return 1
