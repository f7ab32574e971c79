-- What an agenda is made of: entries that wait for their time (`due`), those that are claimed until a time (`claimed`),
-- and of each entry (`of:`) its memo; while a claim is not settled its token too, and from when on it was noted since.
-- None of it is in the ledger, and a rebuild leaves it.
local P = KEYS[1]
-- A key that is something else was made by somebody else: it gives way.
local function sound(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('UNLINK', key) end
  return key
end
local function list_of(name)
  local base = P .. 'agenda:' .. name .. ':'
  return { base = base, due = sound(base .. 'due', 'zset'), claimed = sound(base .. 'claimed', 'zset') }
end
local function entry_of(list, key)
  return sound(list.base .. 'of:' .. key, 'hash')
end
-- Notes that an entry is to be looked at from then on, in microseconds.
local function note(list, key, at)
  local entry = entry_of(list, key)
  if redis.call('HEXISTS', entry, 'token') == 1 then
    local noted = tonumber(redis.call('HGET', entry, 'noted') or '')
    if not noted or tonumber(at) < noted then redis.call('HSET', entry, 'noted', at) end
    if redis.call('ZSCORE', list.claimed, key) then return end
  end
  redis.call('ZADD', list.due, 'LT', at, key)
  redis.call('PERSIST', entry)
end
