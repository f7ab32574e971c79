-- Appends lines to a log until it has as many bytes as it may; what does not fit is replaced by one marker line.
-- KEYS: the lines, the head. ARGV: most bytes, lifetime in s, channel, what to say there, the marker, then for each
-- line its size in bytes, its time, and itself as JSON.
local lines, head = KEYS[1], KEYS[2]
local function is(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end
if not (is(lines, 'list') and is(head, 'hash')) then redis.call('UNLINK', lines, head) end
local known = redis.call('HMGET', head, 'bytes', 'cut')
local bytes, cut, limit = tonumber(known[1] or '') or 0, known[2] == '1', tonumber(ARGV[1])
if cut then return 0 end
for i = 6, #ARGV, 3 do
  local size = tonumber(ARGV[i])
  if bytes + size > limit then
    cut = true
    redis.call('RPUSH', lines, '{"at":"' .. ARGV[i + 1] .. '","text":' .. ARGV[5] .. '}')
    break
  end
  bytes = bytes + size
  redis.call('RPUSH', lines, ARGV[i + 2])
end
redis.call('HSET', head, 'bytes', string.format('%.0f', bytes), 'cut', cut and '1' or '0')
redis.call('EXPIRE', lines, ARGV[2])
redis.call('EXPIRE', head, ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
