-- Puts states whose fencing tokens are not overtaken. ARGV: for each state its place, token and body.
for i = 1, #ARGV, 3 do
  local base = beside(ARGV[i])
  if base then
    local key = sound(base .. 'state', 'hash')
    local fence = tonumber(redis.call('HGET', key, 'fence') or '') or 0
    if tonumber(ARGV[i + 1]) >= fence then
      redis.call('HSET', key, 'fence', ARGV[i + 1], 'body', ARGV[i + 2])
    end
  end
end
return 1
