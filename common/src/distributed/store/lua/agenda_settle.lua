-- Settles a claimed entry. ARGV: list, key, token, now in microseconds, then `at` and a time, `rest` and how many ms the
-- memo is kept, or `gone` and anything, then the memo if there is one. Answers whether the claim was the last one.
local list, key, word = list_of(ARGV[1]), ARGV[2], ARGV[5]
local entry = entry_of(list, key)
if redis.call('HGET', entry, 'token') ~= ARGV[3] then return 0 end
-- What was noted meanwhile comes first.
local due = word == 'at' and tonumber(ARGV[6]) or nil
local noted = tonumber(redis.call('HGET', entry, 'noted') or '')
if noted and not (due and due <= noted) then due = noted end
redis.call('ZREM', list.claimed, key)
redis.call('ZREM', list.due, key)
redis.call('HDEL', entry, 'token', 'noted', 'memo')
if ARGV[7] and word ~= 'gone' then redis.call('HSET', entry, 'memo', ARGV[7]) end
if due then
  redis.call('ZADD', list.due, string.format('%.0f', due), key)
  if due <= tonumber(ARGV[4]) then redis.call('PUBLISH', P .. 'changes', 'a ' .. ARGV[1]) end
elseif word == 'rest' then
  redis.call('PEXPIRE', entry, ARGV[6])
end
return 1
