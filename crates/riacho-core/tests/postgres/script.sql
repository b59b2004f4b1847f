-- One command ends with a semicolon and an empty line.
CREATE TABLE rows (id int PRIMARY KEY, data jsonb);

CREATE TABLE texts (id int PRIMARY KEY, text text);

COPY rows FROM ':directory/rows';

COPY texts FROM ':directory/texts';

CREATE TABLE flat AS SELECT id,
  (data ->> 'n1')::numeric AS n1, (data ->> 'n2')::numeric AS n2, (data ->> 'big')::numeric AS big,
  data ->> 't1' AS t1, data ->> 't2' AS t2, data ->> 'Odd name' AS "Odd name",
  (data ->> 'b1')::boolean AS b1, (data ->> 'b2')::boolean AS b2,
  -- Members of any kind: here only one kind of them is a value.
  CASE WHEN jsonb_typeof(data -> 'm') = 'number' THEN (data ->> 'm')::numeric END AS m,
  CASE WHEN jsonb_typeof(data -> 's') = 'string' THEN data ->> 's' END AS s
  FROM rows;

CREATE TABLE address AS SELECT id AS address_id,
  data #>> '{address,city}' AS city, (data #>> '{address,zip}')::numeric AS zip,
  CASE WHEN jsonb_typeof(data #> '{address,am}') = 'number' THEN (data #>> '{address,am}')::numeric END AS am
  FROM rows;

CREATE SCHEMA deep;

CREATE TABLE deep.nest AS SELECT id AS nest_id,
  (data #>> '{deep,nest,n}')::numeric AS n, data #>> '{deep,nest,t}' AS t, (data #>> '{deep,nest,b}')::boolean AS b
  FROM rows;

-- What differs on purpose, so that all else may be the same text: lengths are numbers like others, and a division by
-- zero is NULL.
CREATE SCHEMA riacho;

CREATE FUNCTION riacho.length(text) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT
  AS 'SELECT pg_catalog.length($1)::numeric';

CREATE FUNCTION riacho.div(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT
  AS 'SELECT CASE WHEN $2 = 0 THEN NULL ELSE pg_catalog.numeric_div($1, $2) END';

CREATE OPERATOR riacho./ (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = riacho.div);

CREATE FUNCTION answer(text text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
BEGIN
  -- The first time without parentheses, so that the text must stand for itself.
  EXECUTE format(E'SELECT string_agg(CASE WHEN %1$s\n THEN ''t'' WHEN (%1$s\n) IS NULL THEN ''n'' ELSE ''f'' END, '''' ORDER BY id)'
    ' FROM public.flat JOIN public.address ON id = address_id JOIN deep.nest ON id = nest_id', text) INTO answer;
  RETURN answer;
EXCEPTION WHEN OTHERS THEN
  RETURN '!' || SQLSTATE;
END
$$;

SET search_path = riacho, pg_catalog, public;

COPY (SELECT public.answer(text) FROM public.texts ORDER BY id) TO ':directory/answers';

