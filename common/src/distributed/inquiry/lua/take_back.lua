-- Forgets a question and its answer. KEYS: the beginning of all names. ARGV: id.
redis.call('DEL', KEYS[1] .. 'inquiry:' .. ARGV[1])
if redis.call('TYPE', KEYS[1] .. 'inquiries').ok == 'zset' then
  redis.call('ZREM', KEYS[1] .. 'inquiries', ARGV[1])
end
return 1
