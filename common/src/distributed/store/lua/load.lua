-- What a chunk of records needs to be folded. ARGV: number of events, their ids, ids of the deployments.
-- Answers: epoch, offset projected, numbers of the events, where they were refused, deployments, numbers confirmed.
local P, events = KEYS[1], tonumber(ARGV[1])
local function text(name)
  local value = redis.pcall('GET', P .. name)
  return type(value) == 'string' and value
end
local function fields(name, from, to)
  if from > to then return {} end
  return redis.call('HMGET', P .. name, unpack(ARGV, from, to))
end
return {
  text('epoch'),
  text('ready'),
  fields('s:known', 2, events + 1),
  fields('s:refused', 2, events + 1),
  fields('s:deployment', events + 2, #ARGV),
  fields('s:confirmed', events + 2, #ARGV),
}
