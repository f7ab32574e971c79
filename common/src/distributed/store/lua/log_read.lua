-- Lines of a log. KEYS: the lines. ARGV: first and last index. Answers how many there are, then those.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then return { 0 } end
local answer = { redis.call('LLEN', KEYS[1]) }
for _, line in ipairs(redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])) do answer[#answer + 1] = line end
return answer
