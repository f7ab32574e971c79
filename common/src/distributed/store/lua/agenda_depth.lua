-- How many entries are due, those whose claims are over among them, and how many wait. ARGV: list, now in microseconds.
local list, now = list_of(ARGV[1]), ARGV[2]
local due = redis.call('ZCOUNT', list.due, '-inf', now) + redis.call('ZCOUNT', list.claimed, '-inf', now)
return { due, redis.call('ZCOUNT', list.due, '(' .. now, '+inf') }
