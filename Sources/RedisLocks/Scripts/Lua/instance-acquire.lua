-- One instance's part of a round: grants a lock if the token proposed is above every token that it has granted before.
--
-- KEYS  1 the lock
-- ARGV  1 the owner, made afresh for this round
--       2 the token proposed
--       3 the lease in milliseconds
--       then, if more than four arguments are given:
--       4 how many ticks a token may be ahead of this server's clock (10 s of them if it is not given)
--       and, if six are given:
--       5 who waits and has the turn: it is told when the lock is free here, if it is held now
--       always the last one: what dlock.node must be. Another value means that this instance has restarted or is not open.
--       Whoever proposes has seen what the node promises, so it proposes no token that may have been granted here and forgotten.
--
-- Returns 1 if the lock is the owner's now; otherwise a list that begins with
--       0 held by another, -1 the token is not above the fence, -2 it is too far ahead, -9 another node (and nothing else)
-- and goes on with the fence, the server's clock in ticks, and the holder, of which at most 400 bytes ('' if none); if it is held, and
-- who asks has the turn, the remaining lease in milliseconds follows (-1: no expiry).
--
-- A round that asks again with the same owner and token is answered with the same grant, its lease set anew.

local call = redis.call
local count = #ARGV
if call('GET', 'dlock.node') ~= ARGV[count] then return { -9 } end
local time = call('TIME')
local ticks = (time[1] - 1735689600) * 62500 + time[2] / 16
ticks = ticks - ticks % 1
local token = ARGV[2] + 0
-- Fences are kept for a day; what was granted half a day ago or earlier is below the clock in any case.
local floor = ticks - 2700000000
local ceiling = ticks + (count > 4 and ARGV[4] or 625000)
if token > floor and token <= ceiling then
    local holder = call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[3])
    if not holder then
        local key = 'dlock.fence:{' .. KEYS[1] .. '}'
        local fence = redis.pcall('SET', key, ARGV[2], 'KEEPTTL', 'GET')
        -- No number if somebody may be waiting: that is for the slow path.
        local last = tonumber(fence or '0')
        if last and token > last then
            -- Its end is set with the first token of each hour, so that it is there for a day after every one of them. To set
            -- it with each would cost more.
            if not fence or token - token % 225000000 ~= last - last % 225000000 then
                call('PEXPIRE', key, '90000000')
            end
            return 1
        end
        call('DEL', KEYS[1])
        -- The fence has another type, or this user may not write it.
        if type(fence) == 'table' then return fence end
        if fence then call('SET', key, fence, 'KEEPTTL') else call('DEL', key) end
    elseif count < 6 then
        local last = tonumber(call('GET', 'dlock.fence:{' .. KEYS[1] .. '}') or '0')
        if last and token > last then return { 0, last > floor and last or floor, ticks, string.sub(holder, 1, 400) } end
    end
end

--@include base
--@include instance-common

local owner, lease = ARGV[1], ARGV[3]
local asker = count == 6 and ARGV[5]
local holder = call('GET', KEYS[1])
local last = lastToken()

local function refuse(code)
    local answer = { code, math.max(last, floor), ticks, shown(holder) }
    if holder and asker then
        -- Whatever is wrong with the token: the next one is proposed when the lock is free. Another library's value is its own.
        if isOurs(holder) then mark(holder, asker) end
        answer[5] = call('PTTL', KEYS[1])
    end
    return answer
end

if isOwner(holder, owner) then
    if token ~= last then return refuse(-1) end
    call('PEXPIRE', KEYS[1], lease)
    return 1
end
if token <= last or token <= floor then return refuse(-1) end
if token > ceiling then return refuse(-2) end
if holder then return refuse(0) end
setFence(token)
call('SET', KEYS[1], owner, 'PX', lease)
return 1
