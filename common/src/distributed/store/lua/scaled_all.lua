-- Every autoscaler, and the wish of its place or nothing.
local answer, stored = {}, redis.call('HGETALL', P .. 's:autoscaler')
for i = 1, #stored, 2 do
  answer[i] = stored[i + 1]
  answer[i + 1] = redis.call('HGET', P .. 's:wish', stored[i])
end
return answer
