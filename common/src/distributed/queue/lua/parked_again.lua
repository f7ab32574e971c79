-- A copy of a parked job was confirmed in a delay queue, because the one before it may be gone.
-- KEYS: job, claims, parked, lane front, lane backlog.
-- ARGV: job, generation, until (us), body, seconds to keep, project, at (us).
local job, generation = ARGV[1], tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 's', 'g')
local state, recorded = known[1], tonumber(known[2]) or -1
if state == 'done' or state == 'buried' or state == 'claimed' or recorded >= generation then return 0 end
redis.call('HSET', KEYS[1], 's', 'parked', 'g', string.format('%.0f', generation), 'u', ARGV[3], 'b', ARGV[4],
  'd', '0', 'p', ARGV[6], 'at', ARGV[7])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[3], job)
redis.call('SREM', KEYS[4], job)
redis.call('SREM', KEYS[5], job)
return 1
