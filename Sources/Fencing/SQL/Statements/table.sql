-- What each protected resource remembers: the highest fencing token that it has seen, and the token's domain.
-- The same on PostgreSQL and SQLite. A row is never deleted while anybody may hold an old token.
CREATE TABLE IF NOT EXISTS fences (
    resource TEXT NOT NULL PRIMARY KEY,
    token BIGINT NOT NULL CHECK (token > 0),
    domain TEXT NOT NULL
)
