-- Notes entries. ARGV: list, from when on in microseconds, keys.
local list = list_of(ARGV[1])
for i = 3, #ARGV do note(list, ARGV[i], ARGV[2]) end
redis.call('PUBLISH', P .. 'changes', 'a ' .. ARGV[1])
return 1
