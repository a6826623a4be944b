-- A payment for each request, for wrk: a body, a credential, and a key of its own.
local prefix = string.format("%08x%08x", os.time(), math.floor(os.clock() * 1e9) % 0x100000000)
local count = 0
local body = '{"amount":1299,"currency":"eur","reference":"order-2026-000123","customer":"c_8c1d2f","capture":true}'
local headers = {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer sk_bench_4f3c2b1a",
}

function init(args)
    math.randomseed(os.time())
    prefix = prefix .. string.format("%06x", math.random(0, 0xffffff))
end

function request()
    count = count + 1
    headers["Idempotency-Key"] = prefix .. "-" .. count
    return wrk.format("POST", nil, headers, body)
end
