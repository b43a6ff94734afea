-- Releases a lock on one instance if the owner holds it there, and lets the next one try.
--
-- KEYS  1 the lock
-- ARGV  1 the owner; '' if there is none
--       2 a waiter that leaves the queue, or gives back its turn; '' or absent if there is none
--       3 for how long the lock is reserved for the next one, in milliseconds; 1000 if absent
--
-- Returns 1 if the owner held the lock, 2 if it did and somebody is next, 0 if it did not hold it.

local call = redis.call
local holder = call('GET', KEYS[1])
local waiter = ARGV[2]
if not waiter or waiter == '' then
    -- Without a mark nobody waits: this is the whole of it.
    if holder == ARGV[1] then return call('DEL', KEYS[1]) end
    if not holder then return 0 end
end

--@include base
--@include instance-common

local reservation = ARGV[3] or '1000'
local hasLeft, problem = true, nil
if waiter and waiter ~= '' then
    hasLeft, problem = pcall(leaveQueue, waiter)
    if isOwner(holder, waiter) and isMarked(holder, 't') then giveAway(reservation) end
end
local answer = 0
if ARGV[1] ~= '' and isOwner(holder, ARGV[1]) then answer = giveAway(reservation) and 2 or 1 end
-- Whatever the queue is, a lock that is held does not stay.
if not hasLeft then return failure(problem) end
return answer
