-- The memo of an entry, or nothing. ARGV: list, key.
return redis.call('HGET', entry_of(list_of(ARGV[1]), ARGV[2]), 'memo')
