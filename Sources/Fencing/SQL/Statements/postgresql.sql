-- Fencing for PostgreSQL (12 or newer), for every language: load this file once, and begin each transaction that writes
-- to a protected resource, or reads what a later write depends on, with
--
--     SELECT fence('inventory/42', 1234567890123, 'clock');
--
-- The arguments are the resource's name, DLOCK_FENCING_TOKEN and DLOCK_TOKEN_DOMAIN. If the token is refused the function
-- raises an error, and the transaction can only be rolled back:
--
--     SQLSTATE LF001   stale: a later holder has been here
--     SQLSTATE LF002   the token is of another domain than the one that the resource remembers
--
-- The resource's row stays locked until the transaction ends, so transactions on one resource run one after another.
-- Under REPEATABLE READ and SERIALIZABLE a later holder makes it fail with a serialization failure (40001) instead.
--
-- The table and the functions are made in the first schema of the search_path that this file is loaded with. From then on the
-- functions use that table, whatever the search_path of their callers is, and whatever temporary tables they have.

CREATE TABLE IF NOT EXISTS fences (
    resource TEXT NOT NULL PRIMARY KEY,
    token BIGINT NOT NULL CHECK (token > 0),
    domain TEXT NOT NULL
);

CREATE OR REPLACE FUNCTION fence(resource TEXT, token BIGINT, domain TEXT DEFAULT 'clock') RETURNS VOID
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
DECLARE
    highest fences%ROWTYPE;
BEGIN
    INSERT INTO fences AS f (resource, token, domain) VALUES ($1, $2, $3)
    ON CONFLICT (resource) DO UPDATE SET token = excluded.token
    WHERE f.domain = excluded.domain AND f.token <= excluded.token;
    IF FOUND THEN RETURN; END IF;
    SELECT * INTO highest FROM fences AS f WHERE f.resource = $1;
    IF highest.domain <> $3 THEN
        RAISE EXCEPTION '% refused a fencing token of the domain %', $1, $3
            USING ERRCODE = 'LF002', DETAIL = format('It was written under the domain %s.', highest.domain),
                HINT = 'If its locks were moved to another backend, call adopt_fence() once.';
    END IF;
    RAISE EXCEPTION '% refused the fencing token %', $1, $2
        USING ERRCODE = 'LF001', DETAIL = format('It has seen %s: a later holder has been here.', highest.token);
END
$function$;

-- Moves a resource to another token domain. For operators who have made sure that nobody takes the former locks any
-- more. Within one domain it is the same as fence(): nothing is lowered.
CREATE OR REPLACE FUNCTION adopt_fence(resource TEXT, token BIGINT, domain TEXT) RETURNS VOID
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
BEGIN
    INSERT INTO fences AS f (resource, token, domain) VALUES ($1, $2, $3)
    ON CONFLICT (resource) DO UPDATE SET token = excluded.token, domain = excluded.domain
    WHERE f.domain <> excluded.domain;
    IF NOT FOUND THEN PERFORM fence($1, $2, $3); END IF;
END
$function$;

-- Named last, the caller's temporary tables are looked at last; not named at all they would come first.
DO $do$
BEGIN
    EXECUTE format('ALTER FUNCTION %1$I.fence(TEXT, BIGINT, TEXT) SET search_path = %1$I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION %1$I.adopt_fence(TEXT, BIGINT, TEXT) SET search_path = %1$I, pg_temp', current_schema());
END
$do$;
