-- SQLite work in memory: fill, index, join, group, update, delete, sort, JSON.
PRAGMA journal_mode=OFF; PRAGMA cache_size=-400000; PRAGMA temp_store=MEMORY;
CREATE TABLE a(id INTEGER PRIMARY KEY, x INTEGER, y TEXT, z REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300000)
INSERT INTO a SELECT i, (i*7919)%100003, printf('row %d of %s', i, hex((i*7919)%65521)), i/3.0 FROM n;
CREATE INDEX ax ON a(x); CREATE INDEX ay ON a(y);
SELECT count(*), sum(length(y)) FROM a WHERE x BETWEEN 1000 AND 50000;
SELECT count(*) FROM (SELECT a.id FROM a JOIN a b ON a.x=b.id WHERE b.y LIKE 'row 1%');
CREATE TABLE g AS SELECT x%1000 k, count(*) c, group_concat(y) s FROM a GROUP BY x%1000;
SELECT count(*), max(length(s)) FROM g;
UPDATE a SET y = y || ' and more' WHERE id%3=0;
DELETE FROM a WHERE id%5=0;
SELECT count(*) FROM (SELECT DISTINCT substr(y,5,4) FROM a);
SELECT y FROM a ORDER BY z*x DESC LIMIT 3;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200000)
SELECT sum(length(replace(upper(hex(i)||'abc'), 'A', 'zz'))) FROM n;
SELECT json_array_length(json_group_array(json_object('id',id,'y',y))) FROM a;
