-- Tells that a waiter is alive, and finds out what became of it.
--
-- KEYS  1 the lock
-- ARGV  1 the owner
--       2 its lease in milliseconds
--       3 how long its registration in the queue lasts from now, in milliseconds
--
-- Returns the token (an integer) if the lock is the owner's now, its lease set anew; otherwise a list:
--       { place, remaining lease in milliseconds, holder }      queued, as in acquire.lua; place is -4 if it is beyond 1000
--       { -3 }                                                  gone: it is not in the queue any more

local call = redis.call
local holder = call('GET', KEYS[1])
local fence

--@include base
--@include common

local owner = ARGV[1]
if isOwner(holder, owner) then
    local token = lastToken() or mint()
    call('PEXPIRE', KEYS[1], ARGV[2])
    return token
end
local entry = call('HGET', waiters, owner)
local place = entry and call('LPOS', queue, owner, 'MAXLEN', 1000)
if entry and not place and call('LLEN', queue) > 1000 then place = -4 end
if not place then
    call('HDEL', waiters, owner)
    return { -3 }
end
-- In this order: also a server that is out of memory allows it, and nobody loses a place for that.
keepQueue()
call('HSET', waiters, owner, registered(tonumber(ARGV[3]), ARGV[2], entry))
if not holder then
    -- The holder died.
    local next, token = handOver()
    if next == owner then return token end
    if next then
        holder = next
        place = call('LPOS', queue, owner, 'MAXLEN', 1000) or -4
    else
        -- Nobody can be reached, not even this waiter: it will ask again. Or one comes first that only its own scripts know.
        call('DEL', KEYS[1])
    end
end
local remaining = -3
if place == 0 then remaining = call('PTTL', KEYS[1]) end
return { place, remaining, shown(holder) }
