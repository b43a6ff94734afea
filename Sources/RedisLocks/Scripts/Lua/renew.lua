-- Sets the lease of a grant anew. Never makes a key that is gone: that would be another grant.
--
-- KEYS  1 the lock
-- ARGV  1 the owner
--       2 its lease in milliseconds
--
-- Returns a list: { 1 renewed | 0 the owner does not hold the lock | -1 its grant was revoked, server milliseconds }

local call = redis.call
local holder = call('GET', KEYS[1])
local fence

--@include base
--@include common

local answer = 0
if isOwner(holder, ARGV[1]) then
    if isMarked(holder, 'r') then
        answer = -1
    else
        if lastToken() then setFence(lastToken(), string.match(fence, 'q?$')) end
        answer = call('PEXPIRE', KEYS[1], ARGV[2])
    end
end
return { answer, now().milliseconds }
