-- The projector's turn. ARGV: holder, lifetime of its turn in ms, name of a new projection, should one be begun.
-- Answers `busy` when it is another's turn; else the projection's name, the offset projected, whether it is complete,
-- and whether it was begun just now. One that is not whole is begun anew: everything made from the ledger goes.
local P, holder, lifetime_ms, fresh = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local function text(name)
  local value = redis.pcall('GET', P .. name)
  return type(value) == 'string' and value
end
local current = text('projector')
if current and current ~= holder then return { 'busy' } end
redis.call('SET', P .. 'projector', holder, 'PX', lifetime_ms)

local epoch, projected, ready = text('epoch'), text('projected'), text('ready')
local whole = epoch and projected and string.match(projected, '^%d+$')
if whole and (ready == epoch or text('rebuilding') == epoch) then
  return { 'on', epoch, projected, ready == epoch and 1 or 0, 0 }
end

local keys = redis.pcall('SMEMBERS', P .. 's:keys')
for _, mine in ipairs({ P .. 's:i:', P .. 's:h:' }) do
  for _, key in ipairs(keys) do
    if string.sub(key, 1, #mine) == mine then redis.call('UNLINK', key) end
  end
end
for _, name in ipairs({
  'ready', 's:deployment', 's:confirmed', 's:ordinal', 's:state', 's:event', 's:known', 's:refused', 's:job',
  's:credential', 's:token', 's:token-of', 's:hash-of', 's:autoscaler', 's:autoscaler:confirmed', 's:wish',
  's:wish:confirmed', 's:project', 's:project:confirmed', 's:project:ahead', 's:hook', 's:slugs', 's:all', 's:pending',
  's:seen', 's:keys', 's:ordinals', 's:ahead', 'dead', 'dead:at',
}) do
  redis.call('UNLINK', P .. name)
end
redis.call('SET', P .. 'epoch', fresh)
redis.call('SET', P .. 'rebuilding', fresh)
redis.call('SET', P .. 'projected', '0')
return { 'on', fresh, '0', 0, 1 }
