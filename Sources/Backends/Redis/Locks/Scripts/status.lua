-- Looks at one lock; changes nothing.
--
-- KEYS  1 the lock
-- ARGV  1 how many waiters are told at most
--
-- Returns a list: holder ('' if none; of another library's at most 400 bytes; '?' if the key holds something that is no
-- string), remaining lease in milliseconds (-1: no expiry), fence ('' if none), server milliseconds, how many stand in the
-- queue behind those that were looked at, and then for each waiter in order: owner, server milliseconds when it joined.

local call = redis.call

-- A key of another type is told as such, and is no reason to say nothing of the other keys.
local function look(...)
    local answer = redis.pcall(...)
    if type(answer) ~= 'table' or not answer.err then return answer end
    if not string.find(answer.err, 'WRONGTYPE', 1, true) then error(answer) end
    return nil
end

local time = call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = look('GET', KEYS[1])
local queue = 'dlock.queue:{' .. KEYS[1] .. '}'
local limit = tonumber(ARGV[1])
local answer = {
    holder and string.sub(holder, 1, 400) or (holder == nil and '?' or ''),
    call('PTTL', KEYS[1]),
    string.sub(look('GET', 'dlock.fence:{' .. KEYS[1] .. '}') or '', 1, 40),
    ms,
    math.max((look('LLEN', queue) or 0) - limit, 0),
}
for _, owner in ipairs(look('LRANGE', queue, 0, limit - 1) or {}) do
    local entry = look('HGET', 'dlock.waiters:{' .. KEYS[1] .. '}', owner)
    if entry and (tonumber(string.sub(entry, 1, 13)) or 0) >= ms then
        answer[#answer + 1] = string.sub(owner, 1, 400)
        answer[#answer + 1] = tonumber(string.sub(entry, 14, 26)) or ms
    end
end
return answer
