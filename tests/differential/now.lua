-- The test's clock, in the place of the real now.lua: the time stands in a key, and how long something stays is a field
-- of it. tick.lua removes what is over.
local now = tonumber(redis.call('GET', 'now'))

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
