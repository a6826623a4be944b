#!lua flags=allow-oom
-- ARGV 3 executed (1 or 0)  4 keep receipt
if not r.st then
    return ended_before() and tell('OK') or tell_nothing('NONE')
end
if r.st == 'D' then
    return r.by == ARGV[2] .. 'r' and tell('OK') or already()
end
if lease_runs() then
    return tell('REFUSED')
end
if ARGV[3] == '1' then
    become_done({}, 0, ARGV[4])
else
    become_absent()
end
return tell('OK')
