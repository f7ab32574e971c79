-- Appends decisions, each under the number after its autoscaler's last one. ARGV: how many of an autoscaler are kept,
-- then for each decision its place and body.
local kept = tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local base = beside(ARGV[i])
  if base then
    local key = sound(base .. 'decisions', 'zset')
    local number = last_of(key) + 1
    redis.call('ZADD', key, number, string.format('%.0f', number) .. '\n' .. ARGV[i + 1])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', number - kept)
  end
end
return 1
