-- Sets the lease of a grant anew on one instance. Never makes a key that is gone: that would be another grant.
--
-- KEYS  1 the lock
-- ARGV  1 the owner
--       2 its lease in milliseconds
--       3 the policy by which it is held, as it stands in dlock.node; absent: not compared
--
-- Returns 1 renewed, 0 the owner does not hold the lock here, -1 its grant was revoked, -9 this instance has another policy: what
-- holds by an earlier generation is not counted in a later one. One that was removed has the policy by which it was removed, and is
-- no member of it: what it renewed would be counted in a quorum that it does not belong to.

local call = redis.call
local holder = call('GET', KEYS[1])

--@include base
--@include instance-common

if not isOwner(holder, ARGV[1]) then return 0 end
if isMarked(holder, 'r') then return -1 end
if ARGV[3] then
    local node = call('GET', 'dlock.node') or ''
    if not string.find(node, ' ' .. ARGV[3] .. ' ', 1, true) or string.find(node, ' removed', 1, true) then return -9 end
end
call('PEXPIRE', fenceKey, 90000000)
return call('PEXPIRE', KEYS[1], ARGV[2])
