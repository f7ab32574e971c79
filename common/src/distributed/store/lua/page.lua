-- One page of the deployments in all of the named indexes, newest first, and how many there are in all.
-- ARGV: after which deployment (or ''), how many to skip, how many at most, names of the indexes.
local after, skip, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local names = {}
for i = 4, #ARGV do names[#names + 1] = P .. 's:i:' .. ARGV[i] end
if #names == 0 then names[1] = P .. 's:all' end
local total
if #names == 1 then
  total = redis.call('ZCARD', names[1])
else
  total = redis.call('ZINTERCARD', #names, unpack(names))
  -- The smallest is walked, the others are asked.
  local smallest = 1
  for i = 2, #names do
    if redis.call('ZCARD', names[i]) < redis.call('ZCARD', names[smallest]) then smallest = i end
  end
  names[1], names[smallest] = names[smallest], names[1]
end
local answer, from = { total }, '+inf'
if after ~= '' then
  local ordinal = redis.call('ZSCORE', P .. 's:all', after)
  if not ordinal then return answer end
  from, skip = '(' .. ordinal, 0
end
local found = {}
while #found < limit do
  local some = redis.call('ZREVRANGEBYSCORE', names[1], from, '-inf', 'WITHSCORES', 'LIMIT', 0, 500)
  for i = 1, #some, 2 do
    local inside = true
    for n = 2, #names do inside = inside and redis.call('ZSCORE', names[n], some[i]) end
    if inside and skip > 0 then
      skip = skip - 1
    elseif inside and #found < limit then
      found[#found + 1] = some[i]
    end
    from = '(' .. some[i + 1]
  end
  if #some < 1000 then break end
end
for _, id in ipairs(found) do
  answer[#answer + 1] = redis.call('HGET', P .. 's:deployment', id) or ''
end
return answer
