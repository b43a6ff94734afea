-- Checks a token and remembers it: $1 the resource, $2 the token, $3 its domain. A row comes back if the token was
-- accepted; none if it was refused, and then nothing may be written. Run it in the transaction of the writes, before
-- them: the row stays locked until that transaction ends, so that nobody who was accepted goes on after a later holder.
-- The same on PostgreSQL and SQLite.
INSERT INTO fences AS fence (resource, token, domain) VALUES ($1, $2, $3)
ON CONFLICT (resource) DO UPDATE SET token = excluded.token
WHERE fence.domain = excluded.domain AND fence.token <= excluded.token
RETURNING token
