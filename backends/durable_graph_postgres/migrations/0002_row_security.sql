-- Version 2: policies by tenant, which hold once row level security is switched on.

-- Database roles that are bound to a tenant, whatever their sessions say.
CREATE TABLE {schema}.roles (
    role   name PRIMARY KEY,
    tenant text NOT NULL
);

-- The tenant that this transaction is for: that of a bound role, or what the transaction says.
CREATE FUNCTION {schema}.tenant() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT r.tenant FROM {schema}.roles AS r WHERE r.role = current_user),
        current_setting('durable_graph.tenant', true)
    )
$$;

CREATE POLICY own ON {schema}.threads USING (tenant = (SELECT {schema}.tenant()));
CREATE POLICY own ON {schema}.cards USING (tenant = (SELECT {schema}.tenant()));
CREATE POLICY own ON {schema}.records USING (tenant = (SELECT {schema}.tenant()));
CREATE POLICY own ON {schema}.blobs USING (tenant = (SELECT {schema}.tenant()));
CREATE POLICY own ON {schema}.messages USING (tenant = (SELECT {schema}.tenant()));

-- Let a role use the threads of one tenant and nothing else.
CREATE FUNCTION {schema}.bind_role(role_ name, tenant_ text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.roles (role, tenant) VALUES (role_, tenant_)
    ON CONFLICT (role) DO UPDATE SET tenant = excluded.tenant;
    EXECUTE format('GRANT USAGE ON SCHEMA {schema} TO %I', role_);
    EXECUTE format('GRANT SELECT ON {schema}.roles, {schema}.migrations TO %I', role_);
    EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.threads, {schema}.cards, '
        '{schema}.records, {schema}.blobs, {schema}.messages, {schema}.processes TO %I', role_
    );
END
$$;
