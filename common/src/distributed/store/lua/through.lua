-- A look-up through an index. ARGV: index, key in it, table the found name is looked up in.
local name = redis.call('HGET', P .. ARGV[1], ARGV[2])
if not name then return false end
return redis.call('HGET', P .. ARGV[3], name)
