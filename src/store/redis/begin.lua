#!lua flags=
-- ARGV 3 print  4 bind  5 processor  6 request id  7 upstream key  8 re-send window  9 keep unknown  10 lease
-- Then 5 for each limit (limit.lua), whose buckets are KEYS 4 and on. Without any, limit.lua is not there.
local function begin_new()
    local limits = KEYS[4] and apply_limits(4, 11)
    if limits and not limits.admitted then
        return join(tell_nothing('LIMITED'), limits)
    end
    local fields = make(now)
    r.st = 'I'
    redis.call('HSET', KEYS[1], 'st', 'I', 'lu', now + ARGV[10], unpack(fields))
    live(KEYS[1], ARGV[9])
    redis.call('ZADD', KEYS[3], now + ARGV[10], name)
    return limits and join(tell('NEW'), limits) or tell('NEW')
end

local function begin_done()
    local answer = kept(KEYS[2])
    if answer then
        return tell('REPLAY', {sc = r.sc, td = r.td, an = answer})
    end
    return tell('RECEIPT', {sc = r.sc, td = r.td, uk = upstream_key(), left = untl(r.t0 + r.rs)})
end

local function take_over()
    r.st = 'I'
    r.tk = r.tk + 1
    redis.call('HSET', KEYS[1], 'st', 'I', 'ow', ARGV[1], 'am', '1', 'tk', r.tk, 'lu', now + ARGV[10])
    live(KEYS[1], ARGV[9])
    redis.call('ZADD', KEYS[3], now + ARGV[10], name)
    return tell('TAKEN_OVER', {uk = upstream_key()})
end

local function stuck()
    if r.st == 'I' then
        local fields = {}
        become_unknown(fields)
        redis.call('HSET', KEYS[1], unpack(fields))
    end
    return tell('STUCK')
end

local function begin()
    if not r.st then
        return begin_new()
    end
    if r.fp ~= ARGV[3] then
        return tell_nothing('MISMATCH')
    end
    if r.st == 'D' then
        return begin_done()
    end
    local granted = r.st == 'I' and r.ow == ARGV[1]
    if granted and not r.am then
        return tell('NEW')
    end
    if not granted and lease_runs() then
        return tell('BUSY', {left = untl(r.lu)})
    end
    -- From here on an earlier attempt may have been executed.
    if since(r.t0) >= r.rs then
        return stuck()
    end
    if granted then
        return tell('TAKEN_OVER', {uk = upstream_key()})
    end
    return take_over()
end

return begin()
