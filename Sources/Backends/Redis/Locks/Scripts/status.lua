-- Looks at one lock; changes nothing.
--
-- KEYS  1 the lock
--
-- Returns a list: holder ('' if none), remaining lease in milliseconds (-1: no expiry), fence ('' if none), server
-- milliseconds, and then for each waiter in order: owner, server milliseconds when it joined.

local call = redis.call
local time = call('TIME')
local answer = {
    call('GET', KEYS[1]) or '',
    call('PTTL', KEYS[1]),
    call('GET', 'dlock.fence:{' .. KEYS[1] .. '}') or '',
    time[1] * 1000 + math.floor(time[2] / 1000),
}
for _, owner in ipairs(call('LRANGE', 'dlock.queue:{' .. KEYS[1] .. '}', 0, -1)) do
    local entry = call('HGET', 'dlock.waiters:{' .. KEYS[1] .. '}', owner)
    if entry and tonumber(string.sub(entry, 1, 13)) >= answer[4] then
        answer[#answer + 1] = owner
        answer[#answer + 1] = tonumber(string.sub(entry, 14, 26))
    end
end
return answer
