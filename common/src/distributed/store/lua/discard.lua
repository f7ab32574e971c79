-- Declares the projection void; the projector begins a new one. ARGV: at most once in this many seconds, 0 for now.
-- Answers whether it did.
local P, pause_s = KEYS[1], tonumber(ARGV[1])
if pause_s > 0 and not redis.call('SET', P .. 'healed', '1', 'NX', 'EX', pause_s) then return 0 end
redis.call('DEL', P .. 'ready', P .. 'rebuilding', P .. 'epoch')
redis.call('PUBLISH', P .. 'changes', 'n')
return 1
