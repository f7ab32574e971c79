-- The state of an autoscaler, or nothing. ARGV: place.
local base = beside(ARGV[1])
return base and redis.call('HGET', sound(base .. 'state', 'hash'), 'body')
