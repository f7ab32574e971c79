-- Registered projects in the order of their slugs. ARGV: `hook` or `project`, which part of each; after which slug (or
-- ''), how many at most.
local part = ARGV[1] == 'hook' and '^[^\n]*\n([^\n]*)\n' or '^[^\n]*\n[^\n]*\n(.*)$'
local from = ARGV[2] == '' and '-' or '(' .. ARGV[2]
local slugs = redis.call('ZRANGEBYLEX', P .. 's:slugs', from, '+', 'LIMIT', 0, ARGV[3])
if #slugs == 0 then return {} end
local answer = {}
for i, stored in ipairs(redis.call('HMGET', P .. 's:project', unpack(slugs))) do
  answer[i] = stored and string.match(stored, part) or ''
end
return answer
