-- Leaves an answer where its asker looks for it, if there still is one. KEYS: the beginning of all names.
-- ARGV: id, answer.
local question = KEYS[1] .. 'inquiry:' .. ARGV[1]
if redis.call('TYPE', question).ok ~= 'hash' then return 0 end
return redis.call('HSETNX', question, 'answer', ARGV[2])
