-- The sizes of the named indexes.
local answer = {}
for i = 1, #ARGV do answer[i] = redis.call('ZCARD', P .. 's:i:' .. ARGV[i]) end
return answer
