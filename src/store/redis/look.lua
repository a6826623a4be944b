#!lua flags=no-writes
-- One record, as operators see it. KEYS and fields as in record.lua.
if not r.st then
    return {''}
end
local st, unknown_since = r.st, 0
if r.st == 'U' or (r.st == 'I' and not lease_runs()) then
    st, unknown_since = 'U', r.lu
end
return {st, r.pr or '', r.id or '', r.sc, r.tk, r.am and 1 or 0, redis.call('EXISTS', KEYS[2]), r.t0, unknown_since,
        r.td, now + left(KEYS[1])}
