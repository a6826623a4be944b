#!lua flags=
-- ARGV 3 lease
if r.st ~= 'I' or r.ow ~= ARGV[1] then
    return r.st and tell('LOST') or tell_nothing('NONE')
end
redis.call('HSET', KEYS[1], 'lu', now + ARGV[3])
redis.call('ZADD', KEYS[3], now + ARGV[3], name)
return tell('OK')
