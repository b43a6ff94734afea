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
-- decide who tries next, and only ever that. What else may stand there: see base.lua.

-- 0 if there is none, or none is known.
local function lastToken()
    return tokenOf(call('GET', fenceKey)) or 0
end

-- A token is at most a bounded skew ahead of the clock, so a day and a bit from now is a day after it.
local function setFence(token, marks)
    call('SET', fenceKey, string.format('%d', token) .. marks, 'PX', '90000000')
end

-- Reserves the lock for the next waiter, and tells it so. Returns its owner. If there is none it returns nil, and true if a
-- waiter of a kind that is not known here comes first. The lock's key may then be as it was or gone. An error leaves no key.
local function reserve(milliseconds)
    local last
    local function offer(owner)
        last = last or lastToken()
        call('SET', KEYS[1], owner .. '+q+t', 'PX', milliseconds)
        return 'turn ' .. string.sub(owner, 1, 27) .. ' ' .. string.format('%d', last) .. ' ' .. KEYS[1]
    end
    return findNext(26, offer)
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
    local place = entry and call('LPOS', queue, owner)
    if not place then
        place = call('LLEN', queue)
        if place >= maximum then return nil end
        if not isMarked(holder, 'q') then
            setFence(lastToken(), 'q')
            if isOurs(holder) then call('APPEND', KEYS[1], '+q') end
        end
        call('RPUSH', queue, owner)
    end
    call('HSET', waiters, owner, digits(ms + registration) .. (entry and string.sub(entry, 14, 26) or digits(ms)))
    keepQueue()
    return place
end
