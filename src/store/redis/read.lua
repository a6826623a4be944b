#!lua flags=no-writes
if not r.st then
    return tell_nothing('NONE')
end
local more = {sc = r.sc, td = r.td, t0 = r.t0, left = untl(r.t0 + r.rs)}
if r.st == 'U' or (r.st == 'I' and not lease_runs()) then
    more.st = 'U'
    more.un = r.lu
end
return tell('OK', more)
