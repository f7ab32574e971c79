-- Extends a claim, and writes it anew when Redis has forgotten it.
-- KEYS: job, claims, parked, lane front, lane backlog.
-- ARGV: job, generation, token, deliveries, process, worker, expires (us), seconds to keep, project, at (us).
-- Answers 1; 0 when a later claim was given out or the job is at an end, so that this claim is lost.
local job, generation, token = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[1], 's', 'g', 't')
local state, recorded, newest = known[1], tonumber(known[2]) or -1, tonumber(known[3]) or 0
if newest > token then return 0 end
if state == 'done' or state == 'buried' then return 0 end
if newest == token and state ~= 'claimed' then return 0 end
redis.call('HSET', KEYS[1], 's', 'claimed', 'g', string.format('%.0f', math.max(recorded, generation)),
  't', ARGV[3], 'd', ARGV[4], 'i', ARGV[5], 'w', ARGV[6], 'e', ARGV[7], 'p', ARGV[9], 'at', ARGV[10])
redis.call('HDEL', KEYS[1], 'b', 'u')
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('ZADD', KEYS[2], ARGV[7], job)
redis.call('ZREM', KEYS[3], job)
redis.call('SREM', KEYS[4], job)
redis.call('SREM', KEYS[5], job)
return 1
