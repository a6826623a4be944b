#!lua flags=allow-oom
if not r.st then
    return tell_nothing('OK')
end
if r.st ~= 'I' or r.ow ~= ARGV[1] then
    return tell('LOST')
end
if r.am then
    return tell('REFUSED')
end
become_absent()
return tell('OK')
