-- What the operations share: the record as it stands, and how a result is told. The rules are those of
-- src/policy/idem_apply.c; where they differ, that file is right.
--
-- KEYS 1 the record   2 its answer   3 the open records of its bucket   4 (lapse, resolve) the note of its end
-- ARGV 1 owner   2 asked: of this one question, the same when it is asked again; '' when it never is
--
-- A hash: st I in flight, U unknown, D done; ow owner; fp fingerprint; bd what it is bound to; pr processor;
-- id request id; lu lease end; t0 begun; rs re-send window; tk takeovers; am ambiguous; to told; sc status;
-- td done at; by who told or resolved it; u1, u2... the sealed upstream key, in pieces that a listpack takes.
local v = redis.call('HMGET', KEYS[1], 'st', 'ow', 'fp', 'bd', 'pr', 'id', 'lu', 't0', 'rs', 'tk', 'am', 'to', 'sc',
                     'td', 'by')
local r = {st = v[1], ow = v[2], fp = v[3], bd = v[4], pr = v[5], id = v[6], lu = tonumber(v[7] or 0),
           t0 = tonumber(v[8] or 0), rs = tonumber(v[9] or 0), tk = tonumber(v[10] or 0), am = v[11], to = v[12],
           sc = tonumber(v[13] or 0), td = tonumber(v[14] or 0), by = v[15]}
local name = string.sub(KEYS[1], -40)
local told_now, resolved_now = false, false

local function since(ms)
    return now > ms and now - ms or 0
end

local function untl(ms)
    return ms > now and ms - now or 0
end

local function lease_runs()
    return r.st == 'I' and r.lu > now
end

local function upstream_key()
    local parts, i = {}, 1
    local part = redis.call('HGET', KEYS[1], 'u1')
    while part do
        parts[i] = part
        i = i + 1
        part = redis.call('HGET', KEYS[1], 'u' .. i)
    end
    return table.concat(parts)
end

-- Who told or resolved an unknown is noted, so that one whose reply was lost hears of it when it asks again. Where the
-- record goes, that stays under a key of its own for as long as somebody may ask again.
local NOTE_MS = 120000

local function note(fields, mark)
    fields[#fields + 1] = 'by'
    fields[#fields + 1] = ARGV[2] .. mark
end

local function become_unknown(fields)
    r.st = 'U'
    fields[#fields + 1] = 'st'
    fields[#fields + 1] = 'U'
    fields[#fields + 1] = 'am'
    fields[#fields + 1] = '1'
    if not r.to then
        told_now = true
        r.to = '1'
        fields[#fields + 1] = 'to'
        fields[#fields + 1] = '1'
        note(fields, 't')
    end
end

local function become_done(fields, status, keep_receipt_ms)
    r.st = 'D'
    r.sc = status
    r.td = now
    resolved_now = r.to and true or false
    if resolved_now then
        note(fields, 'r')
    end
    redis.call('HSET', KEYS[1], 'st', 'D', 'sc', status, 'td', now, unpack(fields))
    redis.call('HDEL', KEYS[1], 'ow', 'lu', 'to')
    redis.call('ZREM', KEYS[3], name)
    live(KEYS[1], keep_receipt_ms)
end

local function become_absent()
    r.st = false
    resolved_now = r.to and true or false
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[3], name)
    if resolved_now then
        redis.call('HSET', KEYS[4], 'by', ARGV[2], 'pr', r.pr, 'id', r.id)
        live(KEYS[4], NOTE_MS)
    end
end

-- Of a record that is gone: this very question was asked before, and ended the unknown.
local function ended_before()
    local note = redis.call('HMGET', KEYS[4], 'by', 'pr', 'id')
    if note[1] ~= ARGV[2] then
        return false
    end
    resolved_now, r.pr, r.id = true, note[2], note[3]
    return true
end

-- Fields of a record that is made by ARGV 3 print, 4 bind, 5 processor, 6 request id, 7 upstream key, 8 re-send window.
local function make(begun_ms)
    r.pr, r.id, r.t0, r.tk = ARGV[5], ARGV[6], begun_ms, 0
    local fields = {'ow', ARGV[1], 'fp', ARGV[3], 'bd', ARGV[4], 'pr', ARGV[5], 'id', ARGV[6], 't0', begun_ms, 'rs',
                    ARGV[8]}
    local i = 1
    for at = 1, #ARGV[7], 64 do
        fields[#fields + 1] = 'u' .. i
        fields[#fields + 1] = string.sub(ARGV[7], at, at + 63)
        i = i + 1
    end
    return fields
end

-- Of complete and mark: the owner has known the record for so long.
local function begun_before(age_ms)
    return now - math.min(tonumber(age_ms), now)
end

-- 1 verdict  2 told now (1), resolved now (2)  3 state  4 processor  5 request id  6 upstream key  7 status  8 answer
-- 9 age  10 left  11 done at  12 since  13 unknown since  14 takeovers; what is 0 or empty at the end is left out
-- Of NEW and LIMITED, where limits were looked at: their numbers (limit.lua) from 6 on, and nothing else.
local function short(told)
    for i = 14, 6, -1 do
        if told[i] ~= 0 and told[i] ~= '' then
            break
        end
        told[i] = nil
    end
    return told
end

local function tell(verdict, more)
    more = more or {}
    if ARGV[2] and ARGV[2] ~= '' and r.by then
        told_now = told_now or r.by == ARGV[2] .. 't'
        resolved_now = resolved_now or r.by == ARGV[2] .. 'r'
    end
    return short({verdict, (told_now and 1 or 0) + (resolved_now and 2 or 0), more.st or r.st or '', r.pr or '', r.id or '',
                  more.uk or '', more.sc or 0, more.an or '', r.t0 > 0 and since(r.t0) or 0, more.left or 0,
                  more.td or 0, more.t0 or 0, more.un or 0, r.tk})
end

local function tell_nothing(verdict)
    return {verdict, 0, '', '', ''}
end

local function already()
    return tell('ALREADY', {sc = r.sc, td = r.td, an = kept(KEYS[2])})
end
