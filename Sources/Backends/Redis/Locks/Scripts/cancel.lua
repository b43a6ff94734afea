-- Takes a claim back whatever became of it: it leaves the queue, or, if the lock is its own, hands it over.
--
-- KEYS  1 the lock
-- ARGV  1 the owner
--
-- Returns 1 if it held the lock, 0 if not.

local call = redis.call
local holder = call('GET', KEYS[1])
local fence

--@include base
--@include common

leaveQueue(ARGV[1])
if not isOwner(holder, ARGV[1]) then return 0 end
giveAway()
return 1
