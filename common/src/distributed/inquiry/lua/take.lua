-- Gives out the question that is over first, once. KEYS: the beginning of all names. Answers it and how long its
-- asker still waits in ms; nothing when none waits.
local P = KEYS[1]
local waiting = P .. 'inquiries'
if redis.call('TYPE', waiting).ok ~= 'zset' then return false end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
while true do
  local first = redis.call('ZPOPMIN', waiting)
  if #first == 0 then return false end
  local left_ms = tonumber(first[2]) - now_ms
  local question = left_ms > 0 and redis.pcall('HGET', P .. 'inquiry:' .. first[1], 'question')
  if type(question) == 'string' then return { question, string.format('%.0f', left_ms) } end
end
