-- The projection is complete. ARGV: its name, the offset projected, now in microseconds. Answers whether it was still the
-- same. What was said of projects meanwhile was not noted: all of them are looked at.
local P = KEYS[1]
if redis.pcall('GET', P .. 'epoch') ~= ARGV[1] or redis.pcall('GET', P .. 'projected') ~= ARGV[2] then return 0 end
local list = list_of('sweeps')
for _, slug in ipairs(redis.pcall('ZRANGE', P .. 's:slugs', 0, -1)) do note(list, slug, ARGV[3]) end
redis.call('SET', P .. 'ready', ARGV[1])
redis.call('DEL', P .. 'rebuilding')
redis.call('PUBLISH', P .. 'changes', 'a sweeps')
return 1
