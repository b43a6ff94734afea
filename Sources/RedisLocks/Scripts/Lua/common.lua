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
-- without waiters looks at one key only, and so does an acquire. What else may stand there: see base.lua.

local function lastToken()
    if fence == nil then fence = call('GET', fenceKey) end
    return tokenOf(fence)
end

-- The fence outlives the time that its token stands for by a day; after that the clock is above it.
local function setFence(token, marks)
    local ahead = token - now().ticks
    local keep = 86400000
    if ahead > 0 then keep = keep + math.ceil(ahead * 0.016) end
    local text = string.format('%d', token) .. marks
    call('SET', fenceKey, text, 'PX', string.format('%d', keep))
    fence = text
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
    return digits(ms + registration) .. (previous and string.sub(previous, 14, 26) or digits(ms)) .. lease
end

-- Gives the lock to the next waiter, with the lease that it asked for. Returns its owner and its token. If there is none it
-- returns nil twice; true follows if a waiter of a kind that is not known here comes first, and nobody is to be given the
-- lock. The lock's key may then be as it was or gone. An error leaves no key: the lock is free.
local function handOver()
    local token
    local function offer(owner, entry)
        if not token then
            token = nextToken()
            setFence(token, 'q')
        end
        call('SET', KEYS[1], owner .. '+q', 'PX', string.sub(entry, 27))
        local message = 'granted ' .. string.sub(owner, 1, 27) .. ' ' .. string.format('%d', token)
        if ARGV.epoch then message = message .. ' ' .. ARGV.epoch end
        return message
    end
    local next, isUnknown = findNext(27, offer)
    return next, next and token, isUnknown
end

-- The lock is its holder's to give away: hands it over, or deletes its key.
local function giveAway()
    if handOver() then return end
    call('DEL', KEYS[1])
    if lastToken() and call('EXISTS', queue) == 0 then setFence(lastToken(), '') end
end
