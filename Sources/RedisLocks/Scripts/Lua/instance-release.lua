-- Releases a lock on one instance if the owner holds it there, and tells who waits for that.
--
-- KEYS  1 the lock
-- ARGV  1 the owner; '' releases nothing
--
-- Returns 1 if the owner held the lock, 2 if it did and somebody is told, 0 if it did not hold it.

local call = redis.call
local holder = call('GET', KEYS[1])
-- Without a mark nobody is to be told: this is the whole of it.
if holder == ARGV[1] then return call('DEL', KEYS[1]) end
if not holder or ARGV[1] == '' then return 0 end

--@include base
--@include instance-common

if not isOwner(holder, ARGV[1]) then return 0 end
return giveAway(holder) and 2 or 1
