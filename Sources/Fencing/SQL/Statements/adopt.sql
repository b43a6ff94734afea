-- As raise.sql, but a token of another domain is accepted, too, and replaces what was remembered. For operators who
-- have moved a resource to another lock backend, and have made sure that nobody takes the former locks any more.
INSERT INTO fences AS fence (resource, token, domain) VALUES ($1, $2, $3)
ON CONFLICT (resource) DO UPDATE SET token = excluded.token, domain = excluded.domain
WHERE fence.domain <> excluded.domain OR fence.token <= excluded.token
RETURNING token
