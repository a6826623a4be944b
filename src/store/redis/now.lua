-- Time, all of it: the store's clock in ms and in us, and how long a key stays. A test that brings a clock of its own
-- replaces this file and says the same six names.
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)

local function live(key, ms) -- from now on for ms; at least 1
    redis.call('PEXPIRE', key, ms)
end

local function left(key) -- ms until it is gone; it is there
    local ms = redis.call('PTTL', key)
    return ms >= 0 and ms or 2 ^ 53
end

local function keep(key, value, ms)
    redis.call('SET', key, value, 'PX', ms)
end

local function kept(key) -- false: it is not
    return redis.call('GET', key)
end
