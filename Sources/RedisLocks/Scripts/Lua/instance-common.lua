-- What the slow paths of one instance of a Redlock share. It stands inside the other scripts, behind their fast paths: `call`
-- is redis.call.
--
-- The keys of a lock K, which is always KEYS[1]:
--   K                    a string with an expiry: the owner; then "+r" if the grant was revoked, and "+n" with the secret and the client of
--                        who is to be told when the lock is free here
--   dlock.fence:{K}      the highest token granted here, in decimal digits
-- and one key for the whole instance:
--   dlock.node           who this instance is and what it promises: see instance-node.lua
-- Who waits has, or waits for, the turn: an ordinary lock by the scripts of one master, whose key is K, a tab and "turn": no lock's
-- name has a tab, and who may use the keys of K may use those. It grants nothing: it decides who tries next, and only ever that.
--
-- Versions before this one kept a queue of their own for K (dlock.queue:{K}), and reserved the lock there: "+q" says that somebody may
-- wait in it, "+t" that K is only a reservation, and a "q" stands behind the fence. What else may stand there: see base.lua.

-- 0 if there is none, or none is known.
local function lastToken()
    return tokenOf(call('GET', fenceKey)) or 0
end

-- A token is at most a bounded skew ahead of the clock, so a day and a bit from now is a day after it.
local function setFence(token)
    call('SET', fenceKey, string.format('%d', token), 'PX', '90000000')
end

-- Where the mark of whom to tell begins; nil if there is none.
local function askerAt(holder)
    return isOurs(holder) and string.find(holder, '+n', 45, true)
end

-- The release is to tell this one. One has the turn, so the last one that asks is who is to be told.
local function mark(holder, asker)
    local at = askerAt(holder)
    if at then holder = string.sub(holder, 1, at - 1) .. string.sub(holder, at + 47) end
    call('SET', KEYS[1], holder .. '+n' .. string.sub(asker, 1, 45), 'KEEPTTL')
end

-- The lock is its holder's to give away: deletes its key, and tells who waits for that. True if somebody is told.
local function giveAway(holder)
    call('DEL', KEYS[1])
    local at = askerAt(holder)
    if not at then return false end
    local asker = string.sub(holder, at + 2, at + 46)
    -- Whether it can be told or not, the lock is free.
    local fence = redis.pcall('GET', fenceKey)
    fence = type(fence) == 'string' and tokenOf(fence) or 0
    redis.pcall('PUBLISH', channel(asker), 'free ' .. string.sub(asker, 1, 27) .. ' ' .. string.format('%d', fence))
    return true
end
