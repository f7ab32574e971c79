-- A copy of the job was confirmed in a lane. Written after the confirmation, never before: a recorded
-- generation is a promise that this copy exists, and older copies are dropped on its word.
-- KEYS: job, claims, parked, lane the copy is in, the other lane.
-- ARGV: job, generation, project, at (us), seconds to keep, 1 when the count of deliveries begins anew.
local job, generation, project, at, keep_s, anew = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local known = redis.call('HMGET', KEYS[1], 's', 'g')
local state, recorded = known[1], tonumber(known[2]) or -1
if state == 'done' or state == 'claimed' or recorded > generation then return 0 end
if state == 'buried' and recorded >= generation then return 0 end
if state == 'parked' and recorded >= generation then return 0 end
redis.call('HSET', KEYS[1], 's', 'ready', 'g', string.format('%.0f', generation), 'p', project, 'at', at)
if anew == '1' then redis.call('HSET', KEYS[1], 'd', '0') end
redis.call('HDEL', KEYS[1], 'b', 'u')
redis.call('EXPIRE', KEYS[1], keep_s)
redis.call('ZREM', KEYS[3], job)
redis.call('SREM', KEYS[5], job)
redis.call('SADD', KEYS[4], job)
redis.call('EXPIRE', KEYS[4], keep_s)
return 1
