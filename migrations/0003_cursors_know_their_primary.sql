-- After a failover of Redis two servers may hold a queue for a while, each with entries of its own. A cursor
-- belongs to one of them: the newest that a shipper has seen.

ALTER TABLE jobqueue.shipping_cursors
    ADD COLUMN primary_id    text   NOT NULL DEFAULT '',     -- the server whose entries position counts
    ADD COLUMN doubtful_upto text   NOT NULL DEFAULT '0-0',  -- up to here its entries may be there already
    ADD COLUMN superseded    text[] NOT NULL DEFAULT '{}';   -- servers that are not shipped from any more

INSERT INTO jobqueue.migrations (version, name) VALUES (3, 'cursors_know_their_primary');
