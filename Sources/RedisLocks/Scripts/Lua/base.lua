-- What the scripts of one master and those of an instance of a Redlock share. It stands inside them, behind their fast paths:
-- `call` is redis.call, and KEYS[1] the lock's key.
--
-- An owner is: secret (27 characters), ":", client (16 characters), ":", what people see (without "+").
-- A mark is "+" and one letter, behind the owner in the lock's key. Marks come in any order.
--
-- What a later version may write, and what the scripts of this one do with it:
--   Another form of owner in the lock's key is a holder like one of another library: exclusive, and left alone.
--   Another letter as a mark is left as it is.
--   Another kind of waiter stands in the queue as "kind=owner", the kind in lower-case letters, and so in the hash of
--   registrations; what it is registered with begins with 13 digits as ever, and may go on in another way. Who does not
--   know a kind or a form takes it for an exclusive waiter that it cannot serve: as long as its registration lasts it
--   stays, and nobody behind it is given the lock. It is told "look" and its secret, so that it asks by its own scripts.
--
-- An error changes nothing, or leaves something that does no harm: what can fail is read before anything is written, a
-- fence is written before the key that it is for, and the queue is marked before anybody is in it.

local queue = 'dlock.queue:{' .. KEYS[1] .. '}'
local waiters = 'dlock.waiters:{' .. KEYS[1] .. '}'
local fenceKey = 'dlock.fence:{' .. KEYS[1] .. '}'
local clock

-- Server time: 16-microsecond ticks since 2025-01-01, and milliseconds since 1970.
local function now()
    if not clock then
        local time = call('TIME')
        local seconds, microseconds = tonumber(time[1]), tonumber(time[2])
        clock = {
            ticks = (seconds - 1735689600) * 62500 + math.floor(microseconds / 16),
            milliseconds = seconds * 1000 + math.floor(microseconds / 1000),
        }
    end
    return clock
end

local function isOurs(text)
    return string.sub(text, 28, 28) == ':' and string.find(string.sub(text, 1, 45), '^[%w_-]+:[%w_-]+:$')
end

local function isOwner(holder, owner)
    return holder and string.sub(holder, 1, 27) == string.sub(owner, 1, 27)
end

local function isMarked(holder, letter)
    return isOurs(holder) and string.find(holder, '+' .. letter, 45, true)
end

-- What is told of a holder. Another library's may be of any length, and an answer that is too long ends the connection.
local function shown(holder)
    return holder and string.sub(holder, 1, 400) or ''
end

local function channel(owner)
    return 'dlock.push:' .. string.sub(owner, 29, 44)
end

-- The token that a fence tells; nil if it tells none. Nobody is ever granted 0: it stands for a token that is not known.
local function tokenOf(text)
    local token = text and tonumber(string.match(text, '^%d+'))
    return token and token > 0 and token or nil
end

-- Milliseconds since 1970 in 13 digits, also on a server whose clock is far back.
local function digits(milliseconds)
    return string.format('%013d', milliseconds)
end

local function leaveQueue(owner)
    if call('HDEL', waiters, owner) == 1 then call('LREM', queue, 1, owner) end
end

-- A day, so that the queue of a name that nobody uses any more does not stay. To be said behind everything that may have
-- made one of these keys anew.
local function keepQueue()
    call('PEXPIRE', queue, '86400000')
    call('PEXPIRE', waiters, '86400000')
end

-- What pcall caught, as an error reply: servers differ in what that is.
local function failure(problem)
    return type(problem) == 'table' and problem or redis.error_reply(problem)
end

-- What there are many of, in calls of so many arguments that they fit the stack.
local function inPortions(command, key, values)
    for first = 1, #values, 1000 do
        redis.pcall(command, key, unpack(values, first, math.min(first + 999, #values)))
    end
end

-- Gives the lock to the first waiter that is alive and can be reached. `offer(owner, entry)` sets the lock's key for it and
-- returns the message that tells it so; `shortest` is how long its entry is at least.
-- Returns its owner. If there is none it returns nil, the lock's key may be as it was or gone, and true follows if a waiter of
-- a kind that is not known here comes first. After an error the key is gone, nobody was told anything, and all wait on.
--
-- A waiter whose registration ran out leaves the queue. One that the message does not reach (it is reconnecting) is passed
-- over and keeps its place, and so do all of its client, whose channel it is.
local function findNext(shortest, offer)
    -- Taking from a list is what a server that is out of memory allows; what follows in the same script is then allowed.
    local head = redis.pcall('LPOP', queue)
    if not head then return nil, false end
    if type(head) == 'table' then
        call('DEL', KEYS[1])
        error(head)
    end
    local next, unknown
    local stay, leave, silent = {}, {}, {}
    local count = 0

    local function isLast(owner)
        local client = string.sub(owner, 28, 45)
        if silent[client] then
            stay[#stay + 1] = owner
            return false
        end
        local entry = call('HGET', waiters, owner)
        local ends = entry and tonumber(string.sub(entry, 1, 13))
        if not ends or ends < now().milliseconds then
            leave[#leave + 1] = owner
            return false
        end
        if not isOurs(owner) or #entry < shortest or string.find(entry, '%D') then
            unknown = owner
            stay[#stay + 1] = owner
            return true
        end
        local reached = redis.pcall('PUBLISH', channel(owner), offer(owner, entry))
        if type(reached) == 'table' then error(reached) end
        if reached > 0 then
            next = owner
            leave[#leave + 1] = owner
            return true
        end
        silent[client] = true
        stay[#stay + 1] = owner
        return false
    end

    local isDone, problem = pcall(function()
        if isLast(head) then return end
        local length = 10
        while true do
            local page = call('LRANGE', queue, count, count + length - 1)
            for i = 1, #page do
                count = count + 1
                if isLast(page[i]) then return end
            end
            if #page < length then return end
            length = math.min(length * 10, 1000)
        end
    end)

    -- From here on nothing may fail: somebody may have been told.
    local back = {}
    if not isDone then
        back[1] = head
        redis.pcall('DEL', KEYS[1])
    elseif #leave == 0 then
        back[1] = head
    elseif #leave == 1 and next then
        if next ~= head then
            redis.pcall('LREM', queue, 1, next)
            back[1] = head
        end
        redis.pcall('HDEL', waiters, next)
    else
        if count > 0 then redis.pcall('LPOP', queue, count) end
        for i = #stay, 1, -1 do back[#back + 1] = stay[i] end
        inPortions('HDEL', waiters, leave)
    end
    if #back > 0 then
        inPortions('LPUSH', queue, back)
        redis.pcall('PEXPIRE', queue, '86400000')
    end
    if not isDone then error(failure(problem)) end
    local asker = unknown and string.match(unknown, '^%l+=(.*)$')
    if asker and isOurs(asker) then redis.pcall('PUBLISH', channel(asker), 'look ' .. string.sub(asker, 1, 27)) end
    return next, unknown ~= nil
end
