#!lua flags=allow-oom
-- ARGV 3 margin
if not r.st then
    -- Its time ran out in the store, or somebody removed it. Many sweeps may see that; who takes it out of the index
    -- says so.
    if not ended_before() then
        resolved_now = redis.call('ZREM', KEYS[3], name) == 1
    end
    return tell('EXPIRED')
end
if r.st == 'D' then
    redis.call('ZREM', KEYS[3], name) -- it is not open: whoever left it there
    return tell('OK')
end
if r.st == 'I' and r.lu <= now then
    local fields = {}
    become_unknown(fields)
    redis.call('HSET', KEYS[1], unpack(fields))
elseif r.st == 'U' and left(KEYS[1]) < tonumber(ARGV[3]) then
    become_absent()
    return tell('EXPIRED')
end
return tell('OK')
