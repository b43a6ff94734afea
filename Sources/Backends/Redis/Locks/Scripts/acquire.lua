-- Takes a lock that is free, or joins the queue of one that is held.
--
-- KEYS  1 the lock (the keys beside it are named after it: see common.lua)
-- ARGV  1 the owner
--       2 its lease in milliseconds
--       3 how long its registration in the queue lasts, in milliseconds; absent if the owner does not wait
--       4 how many may wait
--
-- Returns the token (an integer) if the lock is the owner's now; otherwise a list:
--       { place, remaining lease in milliseconds, holder }      queued: place 0 is the next one
--       { -1, remaining lease in milliseconds, holder }         busy, and the owner does not wait
--       { -2, number of waiters }                               the queue is full
-- The remaining lease is -3 where it was not looked up (only the next one needs it), -1 if there is no expiry.
--
-- Asked again by the same owner, it answers with the same grant (the lease set anew) or the same place.

local call = redis.call
local holder = call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[2])
local fence
if not holder then
    -- The lock was free. If nobody waits either, this is the whole of it: the next token is the clock, which is above the
    -- last token unless the clock was set back.
    local time = call('TIME')
    local ticks = (time[1] - 1735689600) * 62500 + time[2] / 16
    ticks = ticks - ticks % 1
    fence = call('SET', 'dlock.fence:{' .. KEYS[1] .. '}', string.format('%d', ticks), 'GET', 'PX', '86400000')
    local last = tonumber(fence)
    if last and last < ticks then return ticks end
end

--@include base
--@include common

local owner, lease = ARGV[1], ARGV[2]

if not holder then
    local next, token
    if call('EXISTS', queue) == 1 then next, token = handOver() end
    if not next then
        leaveQueue(owner)
        local mark = call('EXISTS', queue) == 1 and '+q' or ''
        call('SET', KEYS[1], owner .. mark, 'PX', lease)
        return mint()
    end
    if next == owner then return token end
    holder = next
end

if isOwner(holder, owner) then
    call('PEXPIRE', KEYS[1], lease)
    return lastToken() or mint()
end

if not ARGV[3] then return { -1, call('PTTL', KEYS[1]), holder } end

local registration = tonumber(ARGV[3])
local place
if call('HSETNX', waiters, owner, registered(registration, lease)) == 0 then
    place = call('LPOS', queue, owner)
    call('HSET', waiters, owner, registered(registration, lease, call('HGET', waiters, owner)))
end
if not place then
    local length = call('RPUSH', queue, owner)
    place = length - 1
    if length > tonumber(ARGV[4]) then
        leaveQueue(owner)
        return { -2, place }
    end
    if not isMarked(holder, 'q') then
        if isOurs(holder) then call('APPEND', KEYS[1], '+q') end
        setFence(lastToken() or 0, 'q')
    end
    if length == 1 then
        -- So that the queue of a name that nobody uses any more does not stay; touch sets it anew.
        call('PEXPIRE', queue, 86400000)
        call('PEXPIRE', waiters, 86400000)
    end
end
local remaining = -3
if place == 0 then remaining = call('PTTL', KEYS[1]) end
return { place, remaining, holder }
