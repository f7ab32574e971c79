-- The autoscaler of a place, and its wish; nothing where it is not. ARGV: place.
return { redis.call('HGET', P .. 's:autoscaler', ARGV[1]), redis.call('HGET', P .. 's:wish', ARGV[1]) }
