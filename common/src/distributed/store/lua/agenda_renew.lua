-- Extends a claim. ARGV: list, key, token, when it is over now in microseconds. Answers whether the claim was the last
-- one: also one that is over holds again when nobody has followed it.
local list, key = list_of(ARGV[1]), ARGV[2]
if redis.call('HGET', entry_of(list, key), 'token') ~= ARGV[3] then return 0 end
redis.call('ZREM', list.due, key)
redis.call('ZADD', list.claimed, ARGV[4], key)
return 1
