-- What the slow paths of one instance of a Redlock share. It stands inside the other scripts, behind their fast paths: `call`
-- is redis.call.
--
-- The keys of a lock K, which is always KEYS[1]:
--   K                    a string with an expiry: the owner; then "+q" if somebody may be waiting here, "+r" if the grant was
--                        revoked, "+t" if the lock is only reserved for a waiter whose turn it is
--   dlock.fence:{K}      the highest token granted here, in decimal digits; then "q" if somebody may be waiting here
--   dlock.queue:{K}      a list of owners, the next one first
--   dlock.waiters:{K}    a hash: owner -> the end of its registration and when it joined (server milliseconds, 13 digits each)
-- and one key for the whole instance:
--   dlock.node           who this instance is and what it promises: see instance-node.lua
--
-- A reservation grants nothing: it keeps others out until the waiter has asked a quorum with a token of its own. So queues
-- decide who tries next, and only ever that.

local function lastToken()
    local fence = call('GET', fenceKey)
    return fence and tonumber(string.match(fence, '^%d+')) or 0
end

-- A token is at most a bounded skew ahead of the clock, so a day and a bit from now is a day after it.
local function setFence(token, marks)
    call('SET', fenceKey, string.format('%d', token) .. marks, 'PX', '90000000')
end

-- Reserves the lock for the first waiter that is alive and can be reached, and tells it so. Returns its owner.
-- If there is none it returns nothing, and the lock's key may be as it was or gone. A waiter whose registration ran out
-- leaves the queue. One that the message does not reach (it is reconnecting) is passed over and keeps its place.
--
-- The first thing done is taking from a list, which a server that is out of memory allows; what follows in the same script
-- is then allowed, too.
local function reserve(milliseconds)
    local passedOver = {}
    local next
    while not next do
        local owner = call('LPOP', queue)
        if not owner then break end
        local entry = call('HGET', waiters, owner)
        if entry and tonumber(string.sub(entry, 1, 13)) >= now().milliseconds then
            call('SET', KEYS[1], owner .. '+q+t', 'PX', milliseconds)
            local message = 'turn ' .. string.sub(owner, 1, 27) .. ' ' .. string.format('%d', lastToken())
                .. ' ' .. KEYS[1]
            if call('PUBLISH', channel(owner), message) > 0 then
                next = owner
                call('HDEL', waiters, owner)
            else
                passedOver[#passedOver + 1] = owner
            end
        elseif entry then
            call('HDEL', waiters, owner)
        end
    end
    for i = #passedOver, 1, -1 do call('LPUSH', queue, passedOver[i]) end
    return next
end

-- The lock is its holder's to give away: reserves it for the next one, or deletes its key. True if somebody is next.
local function giveAway(milliseconds)
    if reserve(milliseconds) then return true end
    call('DEL', KEYS[1])
    if call('EXISTS', queue) == 0 then
        local last = lastToken()
        if last > 0 then setFence(last, '') end
    end
    return false
end

-- Puts a waiter into the queue, or sets its registration anew. Returns its place; nothing if the queue is full.
local function enqueue(owner, registration, maximum, holder)
    local ms = now().milliseconds
    local entry = call('HGET', waiters, owner)
    local joined = entry and string.sub(entry, 14, 26) or string.format('%d', ms)
    call('HSET', waiters, owner, string.format('%d', ms + registration) .. joined)
    local place = entry and call('LPOS', queue, owner)
    if not place then
        place = call('RPUSH', queue, owner) - 1
        if place >= maximum then
            leaveQueue(owner)
            return nil
        end
        if not isMarked(holder, 'q') then
            if isOurs(holder) then call('APPEND', KEYS[1], '+q') end
            setFence(lastToken(), 'q')
        end
    end
    call('PEXPIRE', queue, 86400000)
    call('PEXPIRE', waiters, 86400000)
    return place
end
