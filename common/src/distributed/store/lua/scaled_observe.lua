-- Appends observations in chunks; chunks that hold none of the newest go. ARGV: place, how many observations are kept,
-- then for each chunk how many it has, the time of its newest in microseconds, and its body.
local base = beside(ARGV[1])
if not base then return 0 end
local key = sound(base .. 'observed', 'zset')
local last = last_of(key)
for i = 3, #ARGV, 3 do
  last = last + tonumber(ARGV[i])
  redis.call('ZADD', key, last, string.format('%.0f', last) .. ' ' .. ARGV[i + 1] .. '\n' .. ARGV[i + 2])
end
redis.call('ZREMRANGEBYSCORE', key, '-inf', last - tonumber(ARGV[2]))
return 1
