-- The projector gives its turn up. ARGV: holder.
local P = KEYS[1]
if redis.pcall('GET', P .. 'projector') == ARGV[1] then redis.call('DEL', P .. 'projector') end
return 1
