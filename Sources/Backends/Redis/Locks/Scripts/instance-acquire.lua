-- One instance's part of a round: grants a lock if the token proposed is above every token that it has granted before.
--
-- KEYS  1 the lock
-- ARGV  1 what dlock.node must be: another value means that this instance has restarted or is not open
--       2 the owner, made afresh for this round
--       3 the token proposed
--       4 the lease in milliseconds
--       5 tokens up to this one may have been granted here and forgotten
--       6 how many ticks a token may be ahead of this server's clock
--       7 the waiter whose turn it is, for whom the lock may be reserved; absent if there is none
--       8 how long its registration in the queue lasts, in milliseconds, if the lock is held
--       9 how many may wait
--
-- Returns 1 if the lock is the owner's now; otherwise a list that begins with
--       0 held by another, -1 the token is not above the fence, -2 it is too far ahead, -9 another node (and nothing else)
-- and goes on with the fence, the server's clock in ticks, and the holder ('' if none).
--
-- A round that asks again with the same owner and token is answered with the same grant, its lease set anew.

local call = redis.call
if call('GET', 'dlock.node') ~= ARGV[1] then return { -9 } end
local time = call('TIME')
local ticks = (time[1] - 1735689600) * 62500 + time[2] / 16
ticks = ticks - ticks % 1
local token = tonumber(ARGV[3])
-- Fences are kept for a day; what was granted half a day ago or earlier is below the clock in any case.
local floor = math.max(tonumber(ARGV[5]), ticks - 2700000000)
local fence = call('GET', 'dlock.fence:{' .. KEYS[1] .. '}')
-- No number if somebody may be waiting: that is for the slow path.
local last = tonumber(fence or '0')
if last and token > last and token > floor and token <= ticks + tonumber(ARGV[6]) then
    local holder = call('SET', KEYS[1], ARGV[2], 'NX', 'GET', 'PX', ARGV[4])
    if not holder then
        call('SET', 'dlock.fence:{' .. KEYS[1] .. '}', ARGV[3], 'PX', '90000000')
        return 1
    end
    if not ARGV[7] then return { 0, math.max(last, floor), ticks, holder } end
end

--@include base
--@include instance-common

local owner, lease, waiter = ARGV[2], ARGV[4], ARGV[7]
local holder = call('GET', KEYS[1])
last = lastToken()

local function refuse(code)
    return { code, math.max(last, floor), ticks, holder or '' }
end

if isOwner(holder, owner) then
    if token ~= last then return refuse(-1) end
    call('PEXPIRE', KEYS[1], lease)
    return 1
end
if token <= last or token <= floor then return refuse(-1) end
if token > ticks + tonumber(ARGV[6]) then return refuse(-2) end

local isMine = waiter and isOwner(holder, waiter) and isMarked(holder, 't')
if not holder and call('EXISTS', queue) == 1 then
    -- Free, but somebody has waited longer. It is given a second, as by a release.
    local next = reserve(1000)
    holder = next and next .. '+q+t'
    isMine = waiter and isOwner(holder, waiter)
end
if holder and not isMine then
    if waiter then enqueue(waiter, tonumber(ARGV[8]), tonumber(ARGV[9]), holder) end
    return refuse(0)
end

if waiter then leaveQueue(waiter) end
local isWaitedFor = call('EXISTS', queue) == 1
call('SET', KEYS[1], owner .. (isWaitedFor and '+q' or ''), 'PX', lease)
setFence(token, isWaitedFor and 'q' or '')
return 1
