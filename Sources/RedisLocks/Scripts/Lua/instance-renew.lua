-- Sets the lease of a grant anew on one instance. Never makes a key that is gone: that would be another grant.
--
-- KEYS  1 the lock
-- ARGV  1 the owner
--       2 its lease in milliseconds
--
-- Returns 1 renewed, 0 the owner does not hold the lock here, -1 its grant was revoked.

local call = redis.call
local holder = call('GET', KEYS[1])

--@include base
--@include instance-common

if not isOwner(holder, ARGV[1]) then return 0 end
if isMarked(holder, 'r') then return -1 end
call('PEXPIRE', fenceKey, 90000000)
return call('PEXPIRE', KEYS[1], ARGV[2])
