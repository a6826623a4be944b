#!lua flags=allow-oom
-- ARGV 3 print  4 bind  5 processor  6 request id  7 upstream key  8 re-send window  9 keep unknown  10 age
local function become_nobodys(fields)
    become_unknown(fields)
    redis.call('HSET', KEYS[1], 'lu', now, unpack(fields))
    redis.call('ZADD', KEYS[3], now, name)
    live(KEYS[1], ARGV[9])
end

local function mark()
    if not r.st then
        become_nobodys(make(begun_before(ARGV[10])))
        return tell('REASSERTED')
    end
    if r.st ~= 'D' and r.ow == ARGV[1] then
        if r.st == 'I' then
            become_nobodys({})
        end
        return tell('OK')
    end
    if r.fp ~= ARGV[3] or r.bd ~= ARGV[4] then
        return tell('CONFLICT')
    end
    if r.st == 'D' then
        return already()
    end
    if not r.am then
        redis.call('HSET', KEYS[1], 'am', '1')
    end
    return tell('LOST')
end

return mark()
