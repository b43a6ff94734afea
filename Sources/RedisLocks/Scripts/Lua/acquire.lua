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
-- Of the holder at most 400 bytes are told; it is '' if nobody holds the lock, and somebody of a kind that is not known here
-- is ahead (see base.lua). The remaining lease is -3 where it was not looked up (only the next one needs it), -1 if there is no expiry.
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
    fence = redis.pcall('SET', 'dlock.fence:{' .. KEYS[1] .. '}', string.format('%d', ticks), 'GET', 'PX', '86400000')
    local last = tonumber(fence)
    if last and last < ticks then return ticks end
    if type(fence) == 'table' then
        -- The fence has another type, or this user may not write it.
        call('DEL', KEYS[1])
        return fence
    end
end

--@include base
--@include common

local owner, lease = ARGV[1], ARGV[2]

-- The lock was free. Returns the token if it is the owner's now, or nil and who is ahead.
local function take()
    if call('EXISTS', queue) == 1 then
        local next, token, isUnknown = handOver()
        if next == owner then return token end
        if next then return nil, next .. '+q' end
        if isUnknown then
            setFence(lastToken() or 0, 'q')
            call('DEL', KEYS[1])
            return nil, ''
        end
    end
    leaveQueue(owner)
    local isWaitedFor = call('EXISTS', queue) == 1
    local token = nextToken()
    setFence(token, isWaitedFor and 'q' or '')
    call('SET', KEYS[1], owner .. (isWaitedFor and '+q' or ''), 'PX', lease)
    return token
end

if not holder then
    local before = fence
    local isDone, token, ahead = pcall(take)
    if not isDone then
        -- All is as it was.
        redis.pcall('DEL', KEYS[1])
        if before then
            fence = before
            setFence(lastToken() or 0, string.match(before, 'q?$'))
        else
            redis.pcall('DEL', fenceKey)
        end
        return failure(token)
    end
    if token then return token end
    holder = ahead
end

if isOwner(holder, owner) then
    local token = lastToken() or mint()
    call('PEXPIRE', KEYS[1], lease)
    return token
end

if not ARGV[3] then return { -1, call('PTTL', KEYS[1]), shown(holder) } end

local entry = call('HGET', waiters, owner)
local place = entry and call('LPOS', queue, owner)
if not place then
    place = call('LLEN', queue)
    if place >= tonumber(ARGV[4]) then return { -2, place } end
    if not isMarked(holder, 'q') then
        setFence(lastToken() or 0, 'q')
        if isOurs(holder) then call('APPEND', KEYS[1], '+q') end
    end
    call('RPUSH', queue, owner)
end
call('HSET', waiters, owner, registered(tonumber(ARGV[3]), lease, entry))
keepQueue()
local remaining = -3
if place == 0 then remaining = call('PTTL', KEYS[1]) end
return { place, remaining, shown(holder) }
