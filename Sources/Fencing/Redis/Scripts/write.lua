-- Checks a fencing token, remembers it, and runs one command: all in one step.
--
-- KEYS  1 the fence: a hash with the highest token that the resource has seen, and the token's domain
--       2 the key that is written; absent if the token is only to be remembered
-- ARGV  1 the token in decimal digits
--       2 its domain
--       3 "check", or "adopt" if a token of another domain is to replace what is remembered
--       4 the command, such as SET or HSET: any whose first argument is its only key
--       5 the command's arguments after the key
--
-- Returns four strings: what was decided (first, same, raised, adopted; stale or otherDomain if it was refused, and then
-- nothing was done), the token and the domain that were remembered before, and what the command answered.
--
-- Tokens are compared as decimal strings: above 2^53 Lua's numbers lose digits. The token is remembered before the command
-- runs: if the command fails (a key of another type), a later holder has been here nevertheless.

local token, domain = ARGV[1], ARGV[2]
if not string.find(token, '^[1-9]%d*$') or #token > 19 then
    return redis.error_reply('ERR a fencing token is a positive 64-bit number in decimal digits')
end

local function isBelow(a, b)
    if #a ~= #b then return #a < #b end
    for i = 1, #a do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then return x < y end
    end
    return false
end

local fence = redis.call('HMGET', KEYS[1], 'token', 'domain')
local highest, highestDomain = fence[1], fence[2]
local decision
if not highest or not highestDomain then
    highest, highestDomain, decision = '', '', 'first'
elseif highestDomain ~= domain then
    if ARGV[3] ~= 'adopt' then return { 'otherDomain', highest, highestDomain, '' } end
    decision = 'adopted'
elseif isBelow(token, highest) then
    return { 'stale', highest, highestDomain, '' }
elseif token == highest then
    decision = 'same'
else
    decision = 'raised'
end
if decision ~= 'same' then redis.call('HSET', KEYS[1], 'token', token, 'domain', domain) end

local answer = ''
if KEYS[2] then
    answer = redis.call(ARGV[4], KEYS[2], unpack(ARGV, 5))
    if type(answer) == 'table' then answer = answer.ok or '' end
    if type(answer) == 'number' then answer = string.format('%d', answer) end
    if not answer then answer = '' end
end
return { decision, highest, highestDomain, answer }
