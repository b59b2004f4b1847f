-- One command ends with a semicolon and an empty line.
-- OIDs below 16384 are never published, and without a postmaster they are still given away.
SELECT max(pg_nextoid('pg_class', 'oid', 'pg_class_oid_index')::bigint) FROM generate_series(1, 16384);

CREATE TYPE mood AS ENUM ('sad', 'fine');

CREATE TABLE orders (id bigint PRIMARY KEY, note text, mood mood, "Odd name, ü" numeric(10, 2));

-- Large texts go out of line as they are, and so need not be large.
ALTER TABLE orders ALTER note SET STORAGE EXTERNAL;

CREATE TABLE whole (a int, b text);

ALTER TABLE whole REPLICA IDENTITY FULL;

CREATE TABLE indexed (a int, b varchar(20) NOT NULL UNIQUE, c timestamptz(3));

ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_b_key;

CREATE TABLE private (a text);

CREATE PUBLICATION p FOR TABLE orders, whole, indexed;

SELECT pg_create_logical_replication_slot('s', 'pgoutput');

INSERT INTO orders VALUES (1, 'grüezi', 'fine', 1.5), (2, '', NULL, NULL), (9007199254740993, repeat('long', 550), 'sad', -12.34);

UPDATE orders SET mood = 'fine' WHERE id > 2;

UPDATE orders SET id = 3 WHERE id = 2;

DELETE FROM orders WHERE id = 1;

INSERT INTO whole VALUES (1, 'one'), (2, NULL);

BEGIN; UPDATE whole SET b = 'two' WHERE a = 2; DELETE FROM whole; COMMIT;

INSERT INTO indexed VALUES (1, 'a', '2026-11-21 20:00:00.5+05:30');

UPDATE indexed SET a = 2;

UPDATE indexed SET b = 'b';

DELETE FROM indexed;

ALTER TABLE whole ADD c boolean DEFAULT true;

INSERT INTO whole VALUES (3, 'three');

TRUNCATE orders;

TRUNCATE orders, private, whole RESTART IDENTITY CASCADE;

SELECT pg_logical_emit_message(false, 'alone', '\x00ff'::bytea);

BEGIN; SELECT pg_logical_emit_message(true, 'with', 'others'); INSERT INTO private VALUES ('unseen'); COMMIT;

SELECT pg_replication_origin_create('elsewhere');

SELECT pg_replication_origin_session_setup('elsewhere');

BEGIN; SELECT pg_replication_origin_xact_setup('16/B374D848', '2000-01-01 00:00:00.001999+00'); INSERT INTO whole VALUES (4); COMMIT;

BEGIN; SELECT pg_replication_origin_xact_setup('16/B374D849', '1965-01-01 00:00:00+00'); DELETE FROM whole; COMMIT;

SELECT pg_replication_origin_session_reset();

-- What nobody sees fills the memory that decoding may take, so what stands before it is streamed.
BEGIN; INSERT INTO orders VALUES (10, 'streamed', 'sad'); SAVEPOINT a; INSERT INTO orders VALUES (11, 'void'); INSERT INTO private SELECT repeat('x', 100) FROM generate_series(1, 600); ROLLBACK TO a; SELECT pg_logical_emit_message(true, 'in', 'stream'); UPDATE orders SET id = 12; INSERT INTO private SELECT repeat('x', 100) FROM generate_series(1, 600); TRUNCATE whole; DELETE FROM orders; INSERT INTO indexed VALUES (1, 'c'); INSERT INTO private SELECT repeat('x', 100) FROM generate_series(1, 600); COMMIT;

BEGIN; INSERT INTO orders VALUES (13, 'rolled back'); INSERT INTO private SELECT repeat('x', 100) FROM generate_series(1, 600); ROLLBACK;

INSERT INTO orders VALUES (14, 'last');

COPY (SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL, 'proto_version', '2', 'publication_names', 'p', 'streaming', 'on', 'messages', 'on')) TO ':directory/text';

COPY (SELECT encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL, 'proto_version', '1', 'publication_names', 'p', 'binary', 'on')) TO ':directory/binary';

