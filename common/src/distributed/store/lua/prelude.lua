-- Every script is given the beginning of all names as its only key. One server holds them all: names made from it
-- need not be announced. What depends on the projection is answered only while it is complete.
local P = KEYS[1]
if type(redis.pcall('GET', P .. 'ready')) ~= 'string' then
  return redis.error_reply('NOTREBUILT the store is being rebuilt from the ledger')
end
