-- What the slow paths share: the token rule, and handing the lock over to the next waiter. It stands inside the other
-- scripts, behind their fast paths: `call` is redis.call, and `fence` what the fence key held, or nil if that is unknown.
--
-- The keys of a lock K, which is always KEYS[1]:
--   K                    a string with an expiry: the owner; then "+q" if somebody may be waiting, "+r" if the grant was
--                        revoked. While another library holds the lock: whatever that library writes.
--   dlock.fence:{K}      the token of the last grant in decimal digits; then "q" if somebody may be waiting
--   dlock.queue:{K}      a list of owners, the next one first
--   dlock.waiters:{K}    a hash: owner -> the end of its registration and when it joined (server milliseconds, 13 digits
--                        each), and its lease in milliseconds
--
-- Somebody may be waiting wherever a mark says so; nobody waits where a key is there and has no mark. So a release
-- without waiters looks at one key only, and so does an acquire.

local function lastToken()
    if fence == nil then fence = call('GET', fenceKey) end
    return fence and tonumber(string.match(fence, '^%d+'))
end

-- The fence outlives the time that its token stands for by a day; after that the clock is above it.
local function setFence(token, marks)
    local ahead = token - now().ticks
    local keep = 86400000
    if ahead > 0 then keep = keep + math.ceil(ahead * 0.016) end
    fence = string.format('%d', token) .. marks
    call('SET', fenceKey, fence, 'PX', string.format('%d', keep))
end

local function nextToken()
    local token = (lastToken() or 0) + 1
    if token < now().ticks then token = now().ticks end
    return token
end

local function mint()
    local token = nextToken()
    setFence(token, call('EXISTS', queue) == 1 and 'q' or '')
    return token
end

local function registered(registration, lease, previous)
    local ms = now().milliseconds
    local joined = previous and string.sub(previous, 14, 26) or string.format('%d', ms)
    return string.format('%d', ms + registration) .. joined .. lease
end

-- Gives the lock to the first waiter that is alive and can be reached, with the lease that it asked for, and tells it so.
-- Returns its owner and its token. If there is none it returns nothing, and the lock's key may be as it was or gone.
-- A waiter whose registration ran out leaves the queue. One that the message does not reach (it is reconnecting) is
-- passed over and keeps its place.
--
-- The first thing done is taking from a list, which a server that is out of memory allows; what follows in the same
-- script is then allowed, too.
local function handOver()
    local passedOver = {}
    local next, token
    while not next do
        local owner = call('LPOP', queue)
        if not owner then break end
        local entry = call('HGET', waiters, owner)
        if entry and tonumber(string.sub(entry, 1, 13)) >= now().milliseconds then
            call('SET', KEYS[1], owner .. '+q', 'PX', string.sub(entry, 27))
            token = nextToken()
            local message = 'granted ' .. string.sub(owner, 1, 27) .. ' ' .. string.format('%d', token)
            if ARGV.epoch then message = message .. ' ' .. ARGV.epoch end
            if call('PUBLISH', channel(owner), message) > 0 then
                next = owner
                call('HDEL', waiters, owner)
                setFence(token, 'q')
            else
                passedOver[#passedOver + 1] = owner
            end
        elseif entry then
            call('HDEL', waiters, owner)
        end
    end
    for i = #passedOver, 1, -1 do call('LPUSH', queue, passedOver[i]) end
    return next, token
end

-- The lock is its holder's to give away: hands it over, or deletes its key.
local function giveAway()
    if handOver() then return end
    call('DEL', KEYS[1])
    if lastToken() and call('EXISTS', queue) == 0 then setFence(lastToken(), '') end
end
