-- The number of the last observation, then the chunks that have some at or after a time. ARGV: place, the time in
-- microseconds.
local base = beside(ARGV[1])
if not base then return {} end
local key = sound(base .. 'observed', 'zset')
local answer = { string.format('%.0f', last_of(key)) }
for _, chunk in ipairs(redis.call('ZRANGE', key, 0, -1)) do
  local newest = tonumber(string.match(chunk, '^%d+ (%-?%d+)\n') or '')
  if newest and newest >= tonumber(ARGV[2]) then answer[#answer + 1] = chunk end
end
return answer
