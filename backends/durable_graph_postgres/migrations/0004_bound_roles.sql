-- Version 4: what a bound role cannot do, whatever it says to the server.

-- The tenant that this role is bound to; NULL: none. What is compared how is settled here, not by
-- names that whoever calls it may have given another meaning.
CREATE FUNCTION {schema}.bound() RETURNS text LANGUAGE sql STABLE
RETURN (
    SELECT r.tenant FROM {schema}.roles AS r
    WHERE r.role OPERATOR(pg_catalog.=) current_user
);

CREATE OR REPLACE FUNCTION {schema}.tenant() RETURNS text LANGUAGE sql STABLE
RETURN coalesce(
    {schema}.bound(), pg_catalog.current_setting('durable_graph.tenant', true)
);

-- What is stored for a thread is its tenant's, or somebody could be in the way of another's.
ALTER POLICY own ON {schema}.records WITH CHECK (
    tenant = (SELECT {schema}.tenant())
    AND EXISTS (SELECT FROM {schema}.threads AS t WHERE t.id = thread_id)
);
ALTER POLICY own ON {schema}.blobs WITH CHECK (
    tenant = (SELECT {schema}.tenant())
    AND EXISTS (SELECT FROM {schema}.threads AS t WHERE t.id = thread_id)
);
ALTER POLICY own ON {schema}.messages WITH CHECK (
    tenant = (SELECT {schema}.tenant())
    AND EXISTS (SELECT FROM {schema}.threads AS t WHERE t.id = thread_id)
);

-- Processes of bound roles are apart. Others are at work for any tenant, whose roles see whether
-- they live, and can do nothing about it.
ALTER TABLE {schema}.processes ADD COLUMN tenant text;
ALTER TABLE {schema}.processes ALTER COLUMN tenant SET DEFAULT {schema}.bound();
CREATE POLICY own ON {schema}.processes USING (
    (SELECT {schema}.bound()) IS NULL OR tenant = (SELECT {schema}.bound())
);
CREATE POLICY seen ON {schema}.processes FOR SELECT USING (tenant IS NULL);

CREATE POLICY own ON {schema}.roles FOR SELECT USING (role = current_user);

CREATE OR REPLACE FUNCTION {schema}.bind_role(role_ name, tenant_ text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    given text;
BEGIN
    INSERT INTO {schema}.roles (role, tenant) VALUES (role_, tenant_)
    ON CONFLICT (role) DO UPDATE SET tenant = excluded.tenant;
    EXECUTE format('GRANT USAGE ON SCHEMA {schema} TO %I', role_);
    EXECUTE format('GRANT SELECT ON {schema}.roles, {schema}.migrations TO %I', role_);
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.cards, {schema}.records, '
        '{schema}.blobs, {schema}.messages, {schema}.processes TO %I', role_
    );
    -- The id of a thread is the server's to give: it is what all that belongs to it is found by.
    SELECT string_agg(quote_ident(a.attname), ', ') INTO given FROM pg_attribute AS a
    WHERE a.attrelid = '{schema}.threads'::regclass AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attidentity = '';
    EXECUTE format('REVOKE ALL ON {schema}.threads FROM %I', role_);
    EXECUTE format(
        'GRANT SELECT, DELETE, INSERT (%1$s), UPDATE (%1$s) ON {schema}.threads TO %2$I',
        given, role_
    );
END
$$;

SELECT {schema}.bind_role(r.role, r.tenant) FROM {schema}.roles AS r
JOIN pg_roles AS known ON known.rolname = r.role;
