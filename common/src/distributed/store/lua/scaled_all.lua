-- A digest of every autoscaler and every wish, and behind it each of them: an autoscaler, then the wish of its place or
-- nothing. Nothing at all when the digest is ARGV[1].
local answer, all, stored = {}, {}, redis.call('HGETALL', P .. 's:autoscaler')
for i = 1, #stored, 2 do
  local wish = redis.call('HGET', P .. 's:wish', stored[i])
  answer[i + 1], answer[i + 2] = stored[i + 1], wish
  all[i], all[i + 1] = stored[i + 1], wish or ''
end
answer[1] = redis.sha1hex(table.concat(all, '\0'))
if answer[1] == ARGV[1] then
  return {}
end
return answer
