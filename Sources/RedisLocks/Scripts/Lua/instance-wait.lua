-- Joins the queue of one instance, or shows that the waiter is still alive, and tells whether it is its turn.
--
-- KEYS  1 the lock
-- ARGV  1 what dlock.node must be
--       2 the waiter
--       3 how long its registration in the queue lasts from now, in milliseconds
--       4 for how long the lock is reserved for it if it is its turn, in milliseconds
--       5 how many may wait
--
-- Returns a list: { 1, fence }                                its turn: the lock is reserved for it here
--                 { 0, place, remaining, holder }             it waits: place 0 is the next one. The remaining lease in
--                                                             milliseconds is -3 where it was not looked up, -1 for ever;
--                                                             of the holder at most 400 bytes are told
--                 { -2, number of waiters }                   the queue is full
--                 { -9 }                                      another node

local call = redis.call
if call('GET', 'dlock.node') ~= ARGV[1] then return { -9 } end

--@include base
--@include instance-common

local waiter, milliseconds = ARGV[2], ARGV[4]
local holder = call('GET', KEYS[1])

local function turn()
    local last = lastToken()
    leaveQueue(waiter)
    local mark = call('EXISTS', queue) == 1 and '+q+t' or '+t'
    call('SET', KEYS[1], waiter .. mark, 'PX', milliseconds)
    return { 1, last }
end

if not holder then
    -- Those who have waited longer come first.
    local next, isUnknown
    if call('EXISTS', queue) == 1 then next, isUnknown = reserve(milliseconds) end
    if isUnknown then call('DEL', KEYS[1]) end
    if next == waiter or not next and not isUnknown then return turn() end
    holder = next and next .. '+q+t' or ''
elseif isOwner(holder, waiter) and isMarked(holder, 't') then
    return turn()
end

local place = enqueue(waiter, tonumber(ARGV[3]), tonumber(ARGV[5]), holder)
if not place then return { -2, call('LLEN', queue) } end
local remaining = -3
if place == 0 then remaining = call('PTTL', KEYS[1]) end
return { 0, place, remaining, shown(holder) }
