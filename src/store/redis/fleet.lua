#!lua flags=allow-oom
-- This weir is there, and how many are. KEYS 1 the fleet   ARGV 1 who this is  2 for how long that is true
-- Another server's clock may have been ahead: what it left is taken away as well.
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + ARGV[2], '+inf')
live(KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
