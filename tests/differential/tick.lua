#!lua flags=
-- Sets the clocks, and removes what is over as the server would: KEYS a record, its answer   ARGV 1 now  2 now in us
redis.call('MSET', 'now', ARGV[1], 'now_us', ARGV[2])
for _, key in ipairs(KEYS) do
    local over = redis.call('HGET', key, 'over')
    if over and tonumber(over) <= tonumber(ARGV[1]) then
        redis.call('DEL', key)
    end
end
return 'OK'
