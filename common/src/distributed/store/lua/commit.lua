-- Writes what a chunk of records came to. `agenda.lua` comes before it. ARGV: the plan, JSON. Answers `done`, `conflict`
-- when a deployment has changed since it was read, or `gone` when the projection is another one by now or the chunk is
-- already in it.
-- Nothing is written before everything was looked at: a script that fails half-way is not undone.
local P, plan = KEYS[1], cjson.decode(ARGV[1])

local function text(name)
  local value = redis.pcall('GET', P .. name)
  return type(value) == 'string' and value
end
if text('epoch') ~= plan.epoch then return 'gone' end
if plan.ledger then
  if text('projected') ~= plan.ledger.from then return 'gone' end
elseif text('ready') ~= plan.epoch then
  return 'gone'
end

local KINDS = {
  ['s:deployment'] = 'hash', ['s:confirmed'] = 'hash', ['s:ordinal'] = 'hash', ['s:state'] = 'hash',
  ['s:event'] = 'hash', ['s:known'] = 'hash', ['s:refused'] = 'hash', ['s:job'] = 'hash',
  ['s:credential'] = 'hash', ['s:token'] = 'hash', ['s:token-of'] = 'hash', ['s:hash-of'] = 'hash',
  ['s:autoscaler'] = 'hash', ['s:wish'] = 'hash', ['s:autoscaler:confirmed'] = 'hash', ['s:wish:confirmed'] = 'hash',
  ['s:project'] = 'hash', ['s:project:confirmed'] = 'hash', ['s:project:ahead'] = 'set', ['s:hook'] = 'hash',
  ['s:slugs'] = 'zset',
  ['s:all'] = 'zset', ['s:pending'] = 'zset', ['s:seen'] = 'set', ['s:keys'] = 'set', ['s:ordinals'] = 'string',
  ['s:ahead'] = 'string',
  ['dead'] = 'hash', ['dead:at'] = 'zset',
}
local function is(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end
for name, kind in pairs(KINDS) do
  if not is(P .. name, kind) then return redis.error_reply('DAMAGED the key ' .. P .. name .. ' is no ' .. kind) end
end

for _, write in ipairs(plan.deployments) do
  local value = redis.call('HGET', P .. 's:deployment', write.id)
  if (value and string.match(value, '^(%d+)\n') or '0') ~= write.expected then return 'conflict' end
  if value and not tonumber(redis.call('HGET', P .. 's:ordinal', write.id)) then
    return redis.error_reply('DAMAGED the deployment ' .. write.id .. ' has no place')
  end
end

-- An index that is something else was made by somebody else: it gives way.
local function index(name, ordinal, id)
  local key = P .. 's:i:' .. name
  if not is(key, 'zset') then redis.call('UNLINK', key) end
  redis.call('ZADD', key, ordinal, id)
  redis.call('SADD', P .. 's:keys', key)
end
local function leave(name, id)
  local key = P .. 's:i:' .. name
  if is(key, 'zset') then redis.call('ZREM', key, id) end
end

local function write_state(write, ordinal, moved)
  local before = redis.call('HGET', P .. 's:state', write.id)
  if moved or before ~= write.state then
    if before then leave('state:' .. before, write.id) end
    index('state:' .. write.state, ordinal, write.id)
    redis.call('HSET', P .. 's:state', write.id, write.state)
  end
  if write.in_service then
    index('serving:' .. write.place, ordinal, write.id)
  else
    leave('serving:' .. write.place, write.id)
  end
end

-- The ledger's order is the order of acceptance. What it has not come to yet is newer than all it has.
local AHEAD = 2 ^ 40
local function write_deployment(write)
  local ordinal, moved = nil, true
  if write.placed then
    ordinal = redis.call('INCR', P .. 's:ordinals')
  elseif write.expected == '0' then
    ordinal = AHEAD + redis.call('INCR', P .. 's:ahead')
  else
    ordinal, moved = redis.call('HGET', P .. 's:ordinal', write.id), false
  end
  if moved then
    redis.call('HSET', P .. 's:ordinal', write.id, ordinal)
    redis.call('ZADD', P .. 's:all', ordinal, write.id)
    for _, name in ipairs(write.indexes) do index(name, ordinal, write.id) end
  end
  write_state(write, ordinal, moved)
  for _, event in ipairs(write.dropped) do redis.call('HDEL', P .. 's:known', event) end
  for number = write.count + 1, tonumber(write.expected) do
    redis.call('HDEL', P .. 's:event', write.id .. ':' .. number)
  end
  for _, event in ipairs(write.events) do
    redis.call('HSET', P .. 's:event', write.id .. ':' .. event.number, event.body)
    redis.call('HSET', P .. 's:known', event.id, event.number)
    if event.job then redis.call('HSET', P .. 's:job', event.job, write.id) end
  end
  redis.call('HSET', P .. 's:deployment', write.id, write.count .. '\n' .. write.body)
  if not plan.quiet and #write.events > 0 then redis.call('PUBLISH', P .. 'changes', 'e ' .. write.id) end
end

local function remove_token(name)
  local hash = redis.call('HGET', P .. 's:hash-of', name)
  if hash then redis.call('HDEL', P .. 's:token-of', hash) end
  redis.call('HDEL', P .. 's:hash-of', name)
  redis.call('HDEL', P .. 's:token', name)
end

-- An autoscaler is laid down behind its life, which is named by the record that it began with: what stands beside it
-- is that life's (`scaled.lua`).
local function life_of(stored)
  return stored and string.match(stored, '^(%x+)\n')
end

-- The last word on a place alone does not say what is there, for a wish needs an autoscaler. So these records are
-- folded twice: as they come, and in the ledger's order (`:confirmed`), which is taken over when nothing is ahead.
local function fold_scaled(entry, autoscalers, wishes)
  if entry.effect == 'autoscaler_deleted' then
    redis.call('HDEL', autoscalers, entry.name)
    redis.call('HDEL', wishes, entry.name)
    return
  end
  local life = life_of(redis.call('HGET', autoscalers, entry.name))
  if entry.effect == 'autoscaler_stored' then
    life = life or string.sub(entry.digest, 1, 16)
    redis.call('HSET', autoscalers, entry.name, life .. '\n' .. entry.body)
  elseif life then
    redis.call('HSET', wishes, entry.name, entry.body)
  end
end

local function take_over(name, place)
  local confirmed = redis.call('HGET', P .. name .. ':confirmed', place)
  if confirmed then
    redis.call('HSET', P .. name, place, confirmed)
  else
    redis.call('HDEL', P .. name, place)
  end
end

local function scaled(entry)
  local autoscalers, wishes = P .. 's:autoscaler', P .. 's:wish'
  local before = life_of(redis.call('HGET', autoscalers, entry.name))
  if plan.ledger then
    take_over('s:autoscaler', entry.name)
    take_over('s:wish', entry.name)
  else
    fold_scaled(entry, autoscalers, wishes)
  end
  if before and before ~= life_of(redis.call('HGET', autoscalers, entry.name)) then
    local beside = P .. 'scaled:' .. entry.name .. ':' .. before .. ':'
    redis.call('UNLINK', beside .. 'state', beside .. 'decisions', beside .. 'observed', beside .. 'learned')
  end
end

-- A project is laid down as its hook's id, what the inbox knows of the hook, and itself, a line each. Its heads end with
-- it, so that here, too, the last word does not say what is there, and these records are folded twice.
local LIVE = { projects = P .. 's:project', heads = P .. 's:h:live:' }
local CONFIRMED = { projects = P .. 's:project:confirmed', heads = P .. 's:h:confirmed:' }

local function hook_of(stored)
  return stored and string.match(stored, '^([^\n]*)\n') or ''
end

local function put_project(state, slug, stored)
  if state == LIVE then
    local hook = hook_of(redis.call('HGET', state.projects, slug))
    if redis.call('HGET', P .. 's:hook', hook) == slug then redis.call('HDEL', P .. 's:hook', hook) end
  end
  if not stored then
    redis.call('HDEL', state.projects, slug)
    if state == LIVE then redis.call('ZREM', P .. 's:slugs', slug) end
    return
  end
  redis.call('HSET', state.projects, slug, stored)
  if state == LIVE then
    redis.call('HSET', P .. 's:hook', hook_of(stored), slug)
    redis.call('ZADD', P .. 's:slugs', 0, slug)
  end
end

local function heads_of(state, slug)
  local key = state.heads .. slug
  redis.call('SADD', P .. 's:keys', key)
  return sound(key, 'hash')
end

local function fold_project(entry, state)
  local slug = entry.name
  local is_registered = redis.call('HEXISTS', state.projects, slug) == 1
  if entry.effect == 'project_stored' then
    if not is_registered then redis.call('UNLINK', state.heads .. slug) end
    put_project(state, slug, entry.body)
  elseif entry.effect == 'project_deleted' then
    put_project(state, slug, nil)
    redis.call('UNLINK', state.heads .. slug)
  elseif is_registered then
    local heads = heads_of(state, slug)
    for _, head in ipairs(entry.seen or {}) do redis.call('HSET', heads, head.place, head.body) end
    for _, place in ipairs(entry.gone or {}) do redis.call('HDEL', heads, place) end
  end
end

-- While nothing was applied ahead both are the same, and are led on alike; otherwise all of the confirmed one is taken
-- over once nothing is ahead any more.
local function project(entry)
  local slug = entry.name
  if not plan.ledger then redis.call('SADD', P .. 's:project:ahead', slug) end
  if not plan.ledger or redis.call('SREM', P .. 's:project:ahead', slug) == 0 then
    return fold_project(entry, LIVE)
  end
  put_project(LIVE, slug, redis.call('HGET', CONFIRMED.projects, slug) or nil)
  local heads, confirmed = heads_of(LIVE, slug), heads_of(CONFIRMED, slug)
  if redis.call('COPY', confirmed, heads, 'REPLACE') == 0 then redis.call('UNLINK', heads) end
end

-- Notes that a registered project is to be looked at. While the projection is made anew nobody is: all are at its end.
local function look_at(entry)
  if plan.quiet or redis.call('HEXISTS', LIVE.projects, entry.name) == 0 then return end
  note(list_of('sweeps'), entry.name, entry.at)
  redis.call('PUBLISH', P .. 'changes', 'a sweeps')
end

-- A delivery leaves nothing but a note. For a while it is known that it was noted ahead, so that the ledger does not
-- bring it up again.
local TOLD_MS = 600000
local function deliver(entry)
  local told = P .. 'agenda:told:' .. entry.digest
  if not plan.ledger then
    redis.call('SET', told, '1', 'PX', TOLD_MS)
    look_at(entry)
  elseif redis.call('UNLINK', told) == 0 then
    look_at(entry)
  end
end

local EFFECTS = {
  credential_stored = function(entry) redis.call('HSET', P .. 's:credential', entry.name, entry.body) end,
  credential_deleted = function(entry) redis.call('HDEL', P .. 's:credential', entry.name) end,
  token_created = function(entry)
    remove_token(entry.name)
    redis.call('HSET', P .. 's:token', entry.name, entry.body)
    redis.call('HSET', P .. 's:hash-of', entry.name, entry.hash)
    redis.call('HSET', P .. 's:token-of', entry.hash, entry.name)
  end,
  token_revoked = function(entry) remove_token(entry.name) end,
  autoscaler_stored = scaled,
  autoscaler_deleted = scaled,
  replicas_wished = scaled,
  project_stored = project,
  project_deleted = project,
  heads_moved = project,
  job_buried = function(entry)
    redis.call('HSET', P .. 'dead', entry.name, entry.body)
    redis.call('ZADD', P .. 'dead:at', entry.at, entry.name)
  end,
  job_unburied = function(entry)
    redis.call('HDEL', P .. 'dead', entry.name)
    redis.call('ZREM', P .. 'dead:at', entry.name)
  end,
}

-- The ledger's order decides. What was applied ahead of it is pending until the ledger has come so far, and while
-- something newer is pending on the same subject, older records have no effect any more.
local function write_entry(entry)
  if entry.effect == 'delivery_received' then return deliver(entry) end
  local member = entry.subject .. '\n' .. entry.digest
  if plan.ledger then
    local was_ahead = redis.call('ZREM', P .. 's:pending', member) == 1
    redis.call('SADD', P .. 's:seen', entry.digest)
    if EFFECTS[entry.effect] == scaled then
      fold_scaled(entry, P .. 's:autoscaler:confirmed', P .. 's:wish:confirmed')
    elseif EFFECTS[entry.effect] == project then
      fold_project(entry, CONFIRMED)
    end
    local newer = redis.call('ZRANGEBYLEX', P .. 's:pending', '[' .. entry.subject .. '\n',
      '(' .. entry.subject .. '\11', 'LIMIT', 0, 1)
    if #newer == 0 then EFFECTS[entry.effect](entry) end
    if entry.effect == 'project_stored' and not was_ahead then look_at(entry) end
  elseif redis.call('SISMEMBER', P .. 's:seen', entry.digest) == 0 then
    if redis.call('ZADD', P .. 's:pending', 'NX', 0, member) == 1 then
      EFFECTS[entry.effect](entry)
      if entry.effect == 'project_stored' then look_at(entry) end
    end
  elseif entry.effect == 'job_unburied' then
    EFFECTS[entry.effect](entry)
  else
    -- Either a repetition, or the same words said again: the ledger knows.
    redis.call('PUBLISH', P .. 'changes', 'n')
  end
end

local function write_reservation(reservation)
  local key = P .. 'reserve:' .. reservation.scope
  if not is(key, 'hash') then redis.call('UNLINK', key) end
  local expires = tonumber(redis.call('HGET', key, 'expires') or '0') or 0
  if expires <= tonumber(plan.now) then
    redis.call('HSET', key, 'expires', reservation.expires, 'body', reservation.body)
    redis.call('PEXPIRE', key, reservation.keep_ms)
  end
end

for _, write in ipairs(plan.deployments) do
  if write.body then write_deployment(write) end
  if write.confirmed then redis.call('HSET', P .. 's:confirmed', write.id, write.confirmed) end
end
for _, refused in ipairs(plan.refused) do redis.call('HSET', P .. 's:refused', refused.id, refused.after) end
for _, entry in ipairs(plan.entries) do write_entry(entry) end
for _, reservation in ipairs(plan.reservations) do write_reservation(reservation) end
if plan.ledger then redis.call('SET', P .. 'projected', plan.ledger.to) end
return 'done'
