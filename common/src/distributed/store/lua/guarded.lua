-- One reading command on one key of the projection. ARGV: command, name of the key, further arguments.
return redis.call(ARGV[1], P .. ARGV[2], unpack(ARGV, 3))
