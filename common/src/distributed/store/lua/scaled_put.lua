-- Puts states, or what was learned, where the fencing token is not overtaken. ARGV: what it is called, then for each its
-- place, token and body.
for i = 2, #ARGV, 3 do
  local base = beside(ARGV[i])
  if base then
    local key = sound(base .. ARGV[1], 'hash')
    local fence = tonumber(redis.call('HGET', key, 'fence') or '') or 0
    if tonumber(ARGV[i + 1]) >= fence then
      redis.call('HSET', key, 'fence', ARGV[i + 1], 'body', ARGV[i + 2])
    end
  end
end
return 1
