-- Decisions of an autoscaler. ARGV: place, how many at most, after which number; without one the newest, last first.
local base = beside(ARGV[1])
if not base then return {} end
local key = sound(base .. 'decisions', 'zset')
if ARGV[3] then return redis.call('ZRANGEBYSCORE', key, '(' .. ARGV[3], '+inf', 'LIMIT', 0, ARGV[2]) end
return redis.call('ZREVRANGE', key, 0, ARGV[2] - 1)
