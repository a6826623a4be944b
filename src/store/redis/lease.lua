#!lua flags=
-- One limit alone. KEYS 1 its bucket   ARGV 1 to 5 the limit  6 want
-- Told: granted, then as tell_limit has it.
local function prepay(limit, want)
    limit.wait = wait_of(limit, 1)
    local granted = math.min(want, math.floor((limit.capacity - limit.debt) / limit.units))
    limit.debt = limit.debt + granted * limit.units
    if granted > 0 or (limit.ahead and limit.debt > 0) then
        write(limit)
    end
    local told = {granted}
    tell_limit(told, limit)
    return told
end

local flags = tonumber(ARGV[5])
if flags < 2 then -- neither check nor force
    return prepay(look_at(KEYS[1], 1), tonumber(ARGV[6]))
end
local told = apply_limits(1, 1)
return join({flags % 4 >= 2 and told[1] or 0}, told)
