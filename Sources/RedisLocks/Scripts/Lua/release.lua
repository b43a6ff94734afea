-- Releases a lock if the owner holds it, and hands it over to the next waiter.
--
-- KEYS  1 the lock
-- ARGV  1 the owner
--
-- Returns 1 if the owner held the lock, 0 if not.

local call = redis.call
local holder = call('GET', KEYS[1])
-- Without a mark nobody waits: this is the whole of an uncontended release.
if holder == ARGV[1] then return call('DEL', KEYS[1]) end
if not holder then return 0 end
local fence

--@include base
--@include common

if not isOwner(holder, ARGV[1]) then return 0 end
giveAway()
return 1
