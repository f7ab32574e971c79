-- What stands beside an autoscaler is named by its place and its life, so that it ends with it: the next autoscaler of
-- the place has another life, and a rebuild of the projection gives the same lives again.
local function beside(place)
  local stored = redis.call('HGET', P .. 's:autoscaler', place)
  local life = stored and string.match(stored, '^(%x+)\n')
  return life and P .. 'scaled:' .. place .. ':' .. life .. ':'
end
-- A key that is something else was made by somebody else: it gives way.
local function sound(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('UNLINK', key) end
  return key
end
-- The number that the last member of a list of decisions or observations has.
local function last_of(key)
  local top = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  return tonumber(top[2] or '') or 0
end
