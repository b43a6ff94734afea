-- Looks who this instance is, when a client has connected to it: the guard against instances that have forgotten.
--
-- KEYS  1 dlock.node: "run set count quorum lease skew floor state"
--           run     the run_id of the server that wrote it: each start of a server has another
--           set, count, quorum, lease, skew
--                   the policy: the name of the set of instances, how many they are and how many must grant, the longest lease
--                   in milliseconds, and how far clocks may differ, in milliseconds
--           floor   tokens up to this one may have been granted here and forgotten
--           state   "open", or the server milliseconds from which it may be open; with ".0" behind them: it never was
-- ARGV  1 the run_id of this server
--       2 the policy, as above
--       3 how long it stays closed after it has restarted, in milliseconds
--       4 how many ticks a token may be ahead of the clock
--       5 "init": a first installation, to be opened at once; "adopt": give an instance that has none this policy;
--         "look": change nothing; otherwise "check": change nothing on an instance that has no node
--
-- Where something may be changed something is written, also if all is as it should be: who refuses that cannot grant.
--
-- Returns a list: { policy of the node ('' if there is none), what dlock.node is now, the server's clock in ticks, milliseconds
-- until it may be open (0: it is open) }
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

local run, policy, floor, state
if node then
    run, policy, floor, state = string.match(node, '^(%x+) (%S+ %d+ %d+ %d+ %d+) (%d+) (%S+)$')
    -- Of another form, as a later version may write it: it is another policy, and is left as it is.
    policy = policy or '?'
end

local mode = ARGV[5]
if mode ~= 'look' and (policy == ARGV[2] or not node and (mode == 'init' or mode == 'adopt')) then
    local wasNeverOpen = not node or string.find(state, '%.0$')
    if run ~= ARGV[1] then
        floor = string.format('%d', math.max(ticks + tonumber(ARGV[4]), tonumber(floor or '0')))
        state = string.format(wasNeverOpen and '%d.0' or '%d', milliseconds + tonumber(ARGV[3]))
    end
    if state ~= 'open' and (tonumber(state) <= milliseconds or mode == 'init' and wasNeverOpen) then state = 'open' end
    policy = ARGV[2]
    node = ARGV[1] .. ' ' .. policy .. ' ' .. floor .. ' ' .. state
    call('SET', KEYS[1], node)
end
local left = 0
if state and state ~= 'open' then left = math.max(1, tonumber(state) - milliseconds) end
return { policy or '', node or '', ticks, left }
