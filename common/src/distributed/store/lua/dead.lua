-- The jobs set aside, newest first. ARGV: how many at most.
local answer = {}
for i, id in ipairs(redis.call('ZREVRANGE', P .. 'dead:at', 0, tonumber(ARGV[1]) - 1)) do
  answer[i] = redis.call('HGET', P .. 'dead', id) or ''
end
return answer
