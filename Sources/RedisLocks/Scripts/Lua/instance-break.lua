-- Breaks a lock by hand on one instance: tells its holder that its grant is revoked.
--
-- KEYS  1 the lock
-- ARGV  1 "1": it is free at once; "0": when the holder has released it or its lease has passed
--
-- Returns the holder, of which at most 400 bytes; nil if there was none. The fence keeps the last token in any case.

local call = redis.call
local holder = call('GET', KEYS[1])
if not holder then return false end

--@include base
--@include instance-common

-- Another library's holder hears nothing. An earlier version's reservation is nobody's lock.
if isOurs(holder) then
    if isMarked(holder, 't') then return false end
    call('PUBLISH', channel(holder), 'revoked ' .. string.sub(holder, 1, 27))
end
if ARGV[1] == '1' then
    giveAway(holder)
elseif isOurs(holder) and not isMarked(holder, 'r') then
    call('APPEND', KEYS[1], '+r')
end
return shown(holder)
