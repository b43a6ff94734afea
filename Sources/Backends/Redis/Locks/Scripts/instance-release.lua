-- Releases a lock on one instance if the owner holds it there, and lets the next one try.
--
-- KEYS  1 the lock
-- ARGV  1 the owner; '' if there is none
--       2 for how long the lock is reserved for the next one, in milliseconds
--       3 a waiter that leaves the queue, or gives back its turn; absent if there is none
--
-- Returns 1 if the owner held the lock, 2 if it did and somebody is next, 0 if it did not hold it.

local call = redis.call
local holder = call('GET', KEYS[1])
if not ARGV[3] then
    -- Without a mark nobody waits: this is the whole of it.
    if holder == ARGV[1] then return call('DEL', KEYS[1]) end
    if not holder then return 0 end
end

--@include base
--@include instance-common

if ARGV[3] then
    leaveQueue(ARGV[3])
    if isOwner(holder, ARGV[3]) and isMarked(holder, 't') then giveAway(ARGV[2]) end
end
if ARGV[1] == '' or not isOwner(holder, ARGV[1]) then return 0 end
return giveAway(ARGV[2]) and 2 or 1
