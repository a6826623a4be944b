#!lua flags=allow-oom
-- ARGV 3 print  4 bind  5 processor  6 request id  7 upstream key  8 re-send window  9 keep unknown  10 age  11 status
-- 12 answer  13 keep  14 keep receipt
local function keep_answer()
    -- Never longer than its record, or the next record of this name would find it.
    local ms = math.min(tonumber(ARGV[13]), tonumber(ARGV[14]))
    if #ARGV[12] > 0 and ms > 0 then
        keep(KEYS[2], ARGV[12], ms)
    else
        redis.call('DEL', KEYS[2])
    end
end

local function complete()
    local verdict, fields = 'OK', {}
    if not r.st then
        verdict, fields = 'REASSERTED', make(begun_before(ARGV[10]))
    elseif r.fp ~= ARGV[3] or r.bd ~= ARGV[4] then
        return tell('CONFLICT')
    elseif r.st == 'D' then
        return already()
    end
    become_done(fields, tonumber(ARGV[11]), ARGV[14])
    keep_answer()
    return tell(verdict)
end

return complete()
