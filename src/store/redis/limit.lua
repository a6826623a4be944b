-- Limits: a bucket as it stands, as it is charged, and how it is told. The rules are those of src/policy/limit.c, step by
-- step; where they differ, that file is right. Whole numbers below 2^53 throughout: a double holds each of them.
--
-- A bucket is debt:last:units, in units of a token and microseconds, and gone when its debt is paid. A limit is 5
-- arguments: units, drain, burst, cost, flags (1 shadow, 2 check, 4 force).
local NUMBER_MAX = 2 ^ 53
local LIMIT_ARGUMENTS = 5

-- part * to / from, rounded up; part < from. No double holds the product.
local function scaled_up(part, to, from)
    local quotient, rest, bit = 0, 0, NUMBER_MAX / 4
    while bit >= 1 do
        quotient, rest = quotient * 2, rest * 2
        if rest >= from then
            rest, quotient = rest - from, quotient + 1
        end
        if to >= bit then
            to, rest = to - bit, rest + part
            if rest >= from then
                rest, quotient = rest - from, quotient + 1
            end
        end
        bit = bit / 2
    end
    return rest > 0 and quotient + 1 or quotient
end

-- What was owed when the bucket was written last, in this limit's units and within its burst; and when that was.
local function owed_of(key, units, burst)
    local debt, last, were = string.match(kept(key) or '', '^(%d+):(%d+):(%d+)$')
    debt, last, were = tonumber(debt), tonumber(last), tonumber(were)
    if not debt or were < 1 or were >= NUMBER_MAX / 2 or debt >= NUMBER_MAX then
        return 0, 0
    end
    local whole = math.floor(debt / were)
    if whole >= burst then
        return burst * units, last
    end
    return were == units and debt or whole * units + scaled_up(debt - whole * were, units, were), last
end

-- One limit as it stands now.
local function look_at(key, at)
    local limit = {key = key, units = tonumber(ARGV[at]), drain = tonumber(ARGV[at + 1]), burst = tonumber(ARGV[at + 2]),
                   cost = tonumber(ARGV[at + 3]), flags = tonumber(ARGV[at + 4])}
    local debt, last = owed_of(key, limit.units, limit.burst)
    if now_us > last then
        local drained = (now_us - last) * limit.drain -- above every debt where a double does not hold it
        debt = drained < debt and debt - drained or 0
    end
    limit.capacity, limit.debt, limit.ahead = limit.burst * limit.units, debt, last > now_us
    return limit
end

-- Microseconds until so many more tokens fit; -1: never.
local function wait_of(limit, cost)
    if cost > limit.burst then
        return -1
    end
    local over = limit.debt + cost * limit.units - limit.capacity
    return over > 0 and math.ceil(over / limit.drain) or 0
end

local function write(limit)
    keep(limit.key, string.format('%.0f:%.0f:%.0f', limit.debt, now_us, limit.units),
         math.ceil(math.ceil(limit.debt / limit.drain) / 1000) + 1)
end

-- 1 fits  2 remaining  3 reset  4 wait
local function tell_limit(out, limit)
    local fits = limit.wait == 0
    out[#out + 1] = fits and 1 or 0
    out[#out + 1] = fits and math.floor((limit.capacity - limit.debt) / limit.units) or 0
    out[#out + 1] = math.ceil(limit.debt / limit.drain)
    out[#out + 1] = limit.wait
end

local function is_charged(limit, admitted)
    if limit.flags % 4 >= 2 or limit.cost == 0 then
        return false
    end
    return limit.flags >= 4 or (admitted and limit.wait == 0)
end

-- All or nothing, of the keys from one on: what is told of them, and whether it is `admitted`.
local function apply_limits(first_key, at)
    local limits, admitted = {}, true
    for i = first_key, #KEYS do
        local limit = look_at(KEYS[i], at)
        limit.wait = limit.flags >= 4 and 0 or wait_of(limit, limit.cost)
        admitted = admitted and (limit.wait == 0 or limit.flags % 2 == 1)
        limits[#limits + 1] = limit
        at = at + LIMIT_ARGUMENTS
    end
    local told = {admitted = admitted}
    for _, limit in ipairs(limits) do
        local charged = is_charged(limit, admitted)
        if charged then -- only a forced charge would pass the burst
            limit.debt = math.min(limit.debt + math.min(limit.cost, limit.burst) * limit.units, limit.capacity)
        end
        if charged or (limit.ahead and limit.debt > 0) then
            write(limit)
        end
        tell_limit(told, limit)
    end
    return told
end

local function join(told, more)
    for _, number in ipairs(more) do
        told[#told + 1] = number
    end
    return told
end
