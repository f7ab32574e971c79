-- Whether a copy of a job may be worked on, and if so, takes it.
-- KEYS: job, claims, parked, lane front, lane backlog.
-- ARGV: job, generation, process, worker, now (us), expires (us), own token and own count of deliveries when
-- this process hands its own expired claim out again (0 otherwise), seconds to keep, project, beginning of the
-- keys of living processes, at (us), most deliveries (0: any number).
-- Answers: word, number, number. Words: done, old (drop this copy), alive (a living process has it; the first
-- number is when its claim expires; or this would be one delivery too many for now), taken (token, deliveries).
local job, process, worker, project, at = ARGV[1], ARGV[3], ARGV[4], ARGV[10], ARGV[12]
local generation, now, expires = tonumber(ARGV[2]), tonumber(ARGV[5]), ARGV[6]
local own_token, own_deliveries, keep_s = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local known = redis.call('HMGET', KEYS[1], 's', 'g', 't', 'd', 'i', 'e')
local state, holder = known[1], known[5]
local recorded = tonumber(known[2]) or -1
local token, deliveries = tonumber(known[3]) or 0, tonumber(known[4]) or 0
local held_until = tonumber(known[6]) or 0
if state == 'done' then return { 'done', 0, 0 } end
if generation < recorded then return { 'old', 0, 0 } end
if state == 'buried' and generation == recorded then return { 'done', 0, 0 } end
if state == 'claimed' and held_until > now and holder ~= process
    and redis.call('EXISTS', ARGV[11] .. holder) == 1 then
  return { 'alive', held_until, 0 }
end
if own_token > 0 then
  deliveries = math.max(deliveries, own_deliveries) + 1
elseif generation > recorded then
  deliveries = 1
elseif state == 'claimed' and holder == process and held_until > now then
  -- Taken by this process, but never handed out: nobody can have crashed on it.
  deliveries = math.max(deliveries, 1)
else
  deliveries = deliveries + 1
end
local deliveries_max = tonumber(ARGV[13])
if deliveries_max > 0 and deliveries > deliveries_max then return { 'alive', now, 0 } end
token = math.max(token + 1, own_token + 1, generation + 1, now)
redis.call('HSET', KEYS[1], 's', 'claimed', 'g', string.format('%.0f', generation),
  't', string.format('%.0f', token), 'd', string.format('%.0f', deliveries), 'i', process, 'w', worker,
  'e', expires, 'p', project, 'at', at)
redis.call('HDEL', KEYS[1], 'b', 'u')
redis.call('EXPIRE', KEYS[1], keep_s)
redis.call('ZADD', KEYS[2], expires, job)
redis.call('ZREM', KEYS[3], job)
redis.call('SREM', KEYS[4], job)
redis.call('SREM', KEYS[5], job)
return { 'taken', token, deliveries }
