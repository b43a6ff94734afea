-- What stands before every script that can grant, where the master is found by Sentinels.
--
-- ARGV  the last one: the epoch of the connection that carries this call (see docs/sentinel.md). It is taken away here.
--
-- dlock.epoch holds the highest epoch that this data has seen, and does not expire. Whoever comes with a lower one is
-- refused, so that after this point nobody with a lower epoch grants anything: a token that is put together with this
-- epoch is above all that came before.

ARGV.epoch = table.remove(ARGV)
do
    local highest = redis.call('GET', 'dlock.epoch')
    if highest ~= ARGV.epoch then
        if highest and tonumber(highest) > tonumber(ARGV.epoch) then
            return redis.error_reply('DLOCKEPOCH the epoch ' .. ARGV.epoch .. ' is below ' .. highest)
        end
        redis.call('SET', 'dlock.epoch', ARGV.epoch)
    end
end

