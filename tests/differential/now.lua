-- The test's clocks, in the place of the real now.lua: the times stand in two keys, so that the one of limits may step
-- back, and how long something stays is a field of it. tick.lua removes what is over.
local times = redis.call('MGET', 'now', 'now_us')
local now, now_us = tonumber(times[1]), tonumber(times[2])

local function live(key, ms)
    redis.call('HSET', key, 'over', now + ms)
end

local function left(key)
    return tonumber(redis.call('HGET', key, 'over')) - now
end

local function keep(key, value, ms)
    redis.call('HSET', key, 'value', value, 'over', now + ms)
end

local function kept(key)
    return redis.call('HGET', key, 'value')
end
