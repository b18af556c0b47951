-- The vectors of items, where the extension `vector` can be had: made by the first search by
-- meaning, and no migration, since a database may get the extension at any time or never.
--
-- {vector} stands for the schema that the extension is in. All of this follows from `vectors` in
-- the table of items, which stays as it is: an item of which nothing is here is ranked by whoever
-- searches, who then brings its vectors here.

-- In the order in which who puts comes: to the items, and by the trigger to their vectors. Searches
-- are not held up by this, nor those who bring vectors.
LOCK TABLE {schema}.items IN SHARE ROW EXCLUSIVE MODE;

-- One of which the extension was taken away has lost its column.
DROP TABLE IF EXISTS {schema}.item_vectors;

CREATE TABLE {schema}.item_vectors (
    namespace bytea NOT NULL,
    key       text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,              -- of the item; others count for nothing
    number    integer NOT NULL,             -- of the vector among the item's
    dims      integer,
    embedding {vector}.vector,              -- of length 1, or zeros; NULL: none that could be kept
    PRIMARY KEY (namespace, key, version, number)
);

-- Nothing is left of what an item was, whoever changes it, and whatever he knows of this table.
CREATE OR REPLACE FUNCTION {schema}.forget_vectors() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM {schema}.item_vectors AS v WHERE v.namespace = old.namespace AND v.key = old.key;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER forget_vectors
AFTER DELETE OR UPDATE OF namespace, key, version, vectors ON {schema}.items
FOR EACH ROW EXECUTE FUNCTION {schema}.forget_vectors();
