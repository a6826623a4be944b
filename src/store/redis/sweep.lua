#!lua flags=no-writes
-- One bucket, as the sweep looks at it: how many records are unknown, the oldest of them, and who is to lapse: owners
-- that went silent, unknowns whose time is over, and names without a record. The youngest are looked at each time, the
-- others page by page.
--
-- KEYS 1 the open records   ARGV 1 margin   2 where the page begins   3 records in a page
local count = redis.call('ZCOUNT', KEYS[1], '-inf', now)
if count == 0 then
    return {0, 0, 0}
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local out = {count, tonumber(oldest[2]), 0}
local records = string.gsub(KEYS[1], ':open$', ':i:')
local seen = {}

local function look_at(member)
    if seen[member] then
        return
    end
    seen[member] = true
    local st = redis.call('HGET', records .. member, 'st')
    if st == 'I' then
        out[1] = out[1] - 1 -- it will be unknown when it has lapsed, and is counted then
    end
    if st ~= 'U' or left(records .. member) < tonumber(ARGV[1]) then
        out[#out + 1] = member
    end
end

local page = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', ARGV[2], ARGV[3])
for _, member in ipairs(page) do
    look_at(member)
end
out[3] = #page
for _, member in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], now, '-inf', 'LIMIT', 0, ARGV[3])) do
    look_at(member)
end
return out
