-- The projection is complete. ARGV: its name, the offset projected. Answers whether it was still the same.
local P = KEYS[1]
if redis.pcall('GET', P .. 'epoch') ~= ARGV[1] or redis.pcall('GET', P .. 'projected') ~= ARGV[2] then return 0 end
redis.call('SET', P .. 'ready', ARGV[1])
redis.call('DEL', P .. 'rebuilding')
return 1
