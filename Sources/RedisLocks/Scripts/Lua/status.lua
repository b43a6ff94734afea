-- Looks at one lock; changes nothing.
--
-- KEYS  1 the lock
-- ARGV  1 how many waiters are told at most
--
-- Returns a list: holder ('' if none; of another library's at most 400 bytes; '?' if the key holds something that is no
-- string), remaining lease in milliseconds (-1: no expiry), fence ('' if none), server milliseconds, how many stand in the
-- queue behind those that were looked at, which of the keys have another type ('lock list,queue hash'; '?' for a type that this
-- user may not ask for; '' if none), and then for each waiter in order: owner, server milliseconds when it joined.

local call = redis.call

-- A key of another type is told as such, and is no reason to say nothing of the other keys.
local strange, seen = {}, {}
local function look(role, command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if type(answer) ~= 'table' or not answer.err then return answer end
    if not string.find(answer.err, 'WRONGTYPE', 1, true) then error(answer) end
    if not seen[role] then
        local kind = redis.pcall('TYPE', key)
        strange[#strange + 1] = role .. ' ' .. (type(kind) == 'table' and kind.ok or '?')
        seen[role] = true
    end
    return nil
end

local time = call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = look('lock', 'GET', KEYS[1])
local queue = 'dlock.queue:{' .. KEYS[1] .. '}'
local waiters = 'dlock.waiters:{' .. KEYS[1] .. '}'
local limit = tonumber(ARGV[1])
local fence = look('fence', 'GET', 'dlock.fence:{' .. KEYS[1] .. '}')
local length = look('queue', 'LLEN', queue) or 0
look('waiters', 'HGET', waiters, '')
local answer = {
    holder and string.sub(holder, 1, 400) or (holder == nil and '?' or ''),
    call('PTTL', KEYS[1]),
    string.sub(fence or '', 1, 40),
    ms,
    math.max(length - limit, 0),
    table.concat(strange, ','),
}
for _, owner in ipairs(length > 0 and call('LRANGE', queue, 0, limit - 1) or {}) do
    local entry = look('waiters', 'HGET', waiters, owner)
    if entry and (tonumber(string.sub(entry, 1, 13)) or 0) >= ms then
        answer[#answer + 1] = string.sub(owner, 1, 400)
        answer[#answer + 1] = tonumber(string.sub(entry, 14, 26)) or ms
    end
end
return answer
