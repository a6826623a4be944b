#!lua flags=
-- Sets the clock, and removes what is over as the server would: KEYS a record, its answer   ARGV 1 now
redis.call('SET', 'now', ARGV[1])
for _, key in ipairs(KEYS) do
    local over = redis.call('HGET', key, 'over')
    if over and tonumber(over) <= tonumber(ARGV[1]) then
        redis.call('DEL', key)
    end
end
return 'OK'
