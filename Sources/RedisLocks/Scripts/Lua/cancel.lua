-- Takes a claim back whatever became of it: it leaves the queue, or, if the lock is its own, hands it over.
--
-- KEYS  1 the lock
-- ARGV  1 the owner
--
-- Returns 1 if it held the lock, 0 if not.

local call = redis.call
local holder = call('GET', KEYS[1])
-- Without a mark nobody waits: this is the whole of it.
if holder == ARGV[1] then return call('DEL', KEYS[1]) end
local fence

--@include base
--@include common

-- Before the lock is given away, so that it is not given to the one that leaves; and whatever becomes of that, a lock that is
-- held does not stay.
local hasLeft, problem = pcall(leaveQueue, ARGV[1])
local isHolder = isOwner(holder, ARGV[1])
if isHolder then giveAway() end
if not hasLeft then return failure(problem) end
return isHolder and 1 or 0
