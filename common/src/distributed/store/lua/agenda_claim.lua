-- Claims what is due, in the order of times. ARGV: list, how many at most, when the claims are over and now in
-- microseconds. Answers of each entry its key, token, time and memo or nothing. Like the tokens of leases, these are
-- never below the time they were given out at: whatever Redis forgets, tokens grow.
local list, limit, expires, now = list_of(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local over = redis.call('ZRANGEBYSCORE', list.claimed, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
for i = 1, #over, 2 do
  redis.call('ZREM', list.claimed, over[i])
  redis.call('ZADD', list.due, 'LT', over[i + 1], over[i])
end
local due = redis.call('ZRANGEBYSCORE', list.due, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
if #due == 0 then return {} end
local tokens = sound(P .. 'agenda:tokens', 'string')
local token = math.max(tonumber(redis.call('GET', tokens) or '') or 0, tonumber(now), 0)
if token ~= token or token >= 2 ^ 53 - limit then token = math.max(tonumber(now), 0) end
local answer = {}
for i = 1, #due, 2 do
  local key = due[i]
  local entry = entry_of(list, key)
  token = token + 1
  -- What was noted before now is looked at with this claim.
  local noted = tonumber(redis.call('HGET', entry, 'noted') or '')
  if noted and noted <= tonumber(now) then redis.call('HDEL', entry, 'noted') end
  redis.call('ZREM', list.due, key)
  redis.call('ZADD', list.claimed, expires, key)
  redis.call('HSET', entry, 'token', string.format('%.0f', token))
  redis.call('PERSIST', entry)
  answer[#answer + 1] = key
  answer[#answer + 1] = string.format('%.0f', token)
  answer[#answer + 1] = string.format('%.0f', tonumber(due[i + 1]))
  answer[#answer + 1] = redis.call('HGET', entry, 'memo')
end
redis.call('SET', tokens, string.format('%.0f', token))
return answer
