-- What the scripts of one master and those of an instance of a Redlock share. It stands inside them, behind their fast paths:
-- `call` is redis.call, and KEYS[1] the lock's key.
--
-- An owner is: secret (27 characters), ":", client (16 characters), ":", what people see (without "+").

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

local function isOurs(holder)
    return string.find(holder, '^[%w_-]+:[%w_-]+:') and string.sub(holder, 28, 28) == ':'
end

local function isOwner(holder, owner)
    return holder and string.sub(holder, 1, 27) == string.sub(owner, 1, 27)
end

local function isMarked(holder, letter)
    return isOurs(holder) and string.find(holder, '+' .. letter, 45, true)
end

local function channel(owner)
    return 'dlock.push:' .. string.sub(owner, 29, 44)
end

local function leaveQueue(owner)
    if call('HDEL', waiters, owner) == 1 then call('LREM', queue, 1, owner) end
end
