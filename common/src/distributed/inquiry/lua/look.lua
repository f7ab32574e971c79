-- The answer to a question, if it is there. KEYS: the beginning of all names. ARGV: id.
local question = KEYS[1] .. 'inquiry:' .. ARGV[1]
if redis.call('TYPE', question).ok ~= 'hash' then return false end
return redis.call('HGET', question, 'answer')
