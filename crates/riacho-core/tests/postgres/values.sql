-- One command ends with a semicolon and an empty line.
CREATE TYPE mood AS ENUM ('sad', 'so "la, la"');

CREATE TYPE pair AS (a int, b text);

CREATE TYPE many AS (pair pair, pairs pair[], "odd ""näme" jsonb, at timestamptz, raw bytea, gone int, nothing text, big numeric);

ALTER TYPE many DROP ATTRIBUTE gone;

CREATE TYPE hollow AS ();

CREATE TYPE span AS RANGE (subtype = float8);

CREATE DOMAIN small AS int CHECK (value < 10);

CREATE DOMAIN smaller AS small;

CREATE DOMAIN listed AS pair[];

CREATE TABLE ordinary (id int, list smaller[], at timestamp);

CREATE TABLE questions (id int, expression text);

COPY questions FROM ':directory/questions';

CREATE TABLE answers (id int, oid oid, text text, json text, zoned text);

CREATE FUNCTION answer(id int, expression text) RETURNS void LANGUAGE plpgsql
  SET TimeZone = 'UTC' SET DateStyle = 'ISO' SET IntervalStyle = 'iso_8601' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE
  zones text[] := '{Asia/Kolkata,America/St_Johns,Africa/Monrovia,Pacific/Kiritimati}';
BEGIN
  -- As the output function writes it: a cast to text does not for some types.
  EXECUTE format('INSERT INTO answers SELECT %s, pg_typeof(v), format(''%%s'', v), to_json(v) FROM (SELECT %s AS v) AS asked', id, expression);
  PERFORM set_config('TimeZone', zones[1 + id % 4], true);
  EXECUTE format('UPDATE answers SET zoned = format(''%%s'', v) FROM (SELECT %s AS v) AS asked WHERE id = %s', expression, id);
END
$$;

SELECT answer(id, expression) FROM questions;

COPY (SELECT * FROM answers ORDER BY id) TO ':directory/answers';

COPY (:types) TO ':directory/types';

