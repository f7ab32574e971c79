-- Whether the store can be read and written.
redis.call('SET', P .. 'heartbeat', '1', 'EX', 60)
return 1
