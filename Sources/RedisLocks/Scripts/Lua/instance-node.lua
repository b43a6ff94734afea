-- Looks who this instance is, when a client has connected to it: the guard against instances that have forgotten. And changes
-- its policy, when the set of instances is changed.
--
-- KEYS  1 dlock.node: "run set count quorum lease skew floor state", and behind them " since" from the second generation on
--           run     the run_id of the server that wrote it: each start of a server has another
--           set, count, quorum, lease, skew
--                   the policy: the name of the set of instances, with its generation and its members from the second one on
--                   ("name/generation/list,earlier lists"), how many they are and how many must grant, the longest lease in
--                   milliseconds, and how far clocks may differ, in milliseconds
--           floor   tokens up to this one may have been granted here and forgotten, or granted by an earlier generation
--           state   "open", or the server milliseconds from which it may be open; with ".0" behind them: it never was;
--                   "removed": it does not belong to the set any more
--           since   the server milliseconds when it got this policy; later if the leases of the one before were longer
-- ARGV  1 the run_id of this server
--       2 the policy, as above
--       3 how long it stays closed after it has restarted, in milliseconds
--       4 how many ticks a token may be ahead of the clock
--       5 "init": a first installation, to be opened at once; "adopt": give an instance that has none this policy;
--         "look": change nothing; "check": change nothing on an instance that has no node. And when the policy is changed, if
--         it is the one that is expected, or already the new one:
--         "step": a member goes on with the next generation: it has forgotten nothing, and is not closed by that. One that was
--         removed is closed: it may have been closed before, and that is forgotten;
--         "join": a new member, open at once; "remove": a member no more
--       6 with one of those three: the policy that is expected; '' if it has none
--       7 with one of those three: no token up to this one may be granted
--       8 with one of those three: so many milliseconds from now it is taken to get it (0 if it is not given)
--
-- Where something may be changed something is written, also if all is as it should be: who refuses that cannot grant.
--
-- Returns a list: { policy of the node ('' if there is none), what dlock.node is now, the server's clock in ticks, milliseconds
-- until it may be open (0: it is open, or removed) }
--
-- A server that has restarted has lost something, or may have: locks that it granted, and tokens. So it grants nothing until
-- every lease that it may have granted is over, and no token that is not above what it can have granted: those were never
-- further ahead of the clock than clocks may differ.

if not string.find(ARGV[1], '^%x+$') then return redis.error_reply('ERR a run_id is needed') end
local call = redis.call
local node = call('GET', KEYS[1])
local time = call('TIME')
local seconds, microseconds = tonumber(time[1]), tonumber(time[2])
local ticks = (seconds - 1735689600) * 62500 + math.floor(microseconds / 16)
local milliseconds = seconds * 1000 + math.floor(microseconds / 1000)

local run, policy, floor, state, since
if node then
    run, policy, floor, state, since = string.match(node, '^(%x+) (%S+ %d+ %d+ %d+ %d+) (%d+) (%S+) ?(%d*)$')
    -- Of another form, as a later version may write it: it is another policy, and is left as it is.
    policy = policy or '?'
end

local mode = ARGV[5]
local isChange = mode == 'step' or mode == 'join' or mode == 'remove'
local isNew = not node and (mode == 'init' or mode == 'adopt')
local isChanged = isChange and policy ~= ARGV[2] and (policy or '') == ARGV[6]
if mode ~= 'look' and (policy == ARGV[2] or isNew or isChanged) then
    local wasNeverOpen = not node or string.find(state, '%.0$')
    local isBack = isChanged and mode == 'step' and state == 'removed'
    if isBack or run ~= ARGV[1] and state ~= 'removed' and not (isChanged and mode == 'join') then
        floor = string.format('%d', math.max(ticks + tonumber(ARGV[4]), tonumber(floor or '0')))
        state = string.format(wasNeverOpen and '%d.0' or '%d', milliseconds + tonumber(ARGV[3]))
    end
    if isChanged then
        floor = string.format('%d', math.max(tonumber(ARGV[7]), tonumber(floor or '0')))
        if mode == 'join' then state = 'open' elseif mode == 'remove' then state = 'removed' end
    end
    if isChanged or isNew and string.find(ARGV[2], '/', 1, true) then
        since = string.format('%d', milliseconds + tonumber(ARGV[8] or '0'))
    end
    if state ~= 'open' and state ~= 'removed' and (tonumber(state) <= milliseconds or mode == 'init' and wasNeverOpen) then
        state = 'open'
    end
    policy = ARGV[2]
    node = ARGV[1] .. ' ' .. policy .. ' ' .. floor .. ' ' .. state
    if since and since ~= '' then node = node .. ' ' .. since end
    call('SET', KEYS[1], node)
end
local left = 0
if state and state ~= 'open' and state ~= 'removed' then left = math.max(1, tonumber(state) - milliseconds) end
return { policy or '', node or '', ticks, left }
