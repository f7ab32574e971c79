-- The token and the body of an autoscaler's state, or of what was learned; nothing where there is none. ARGV: what it is
-- called, place.
local base = beside(ARGV[2])
return base and redis.call('HMGET', sound(base .. ARGV[1], 'hash'), 'fence', 'body') or {}
