-- Work for the end-to-end test: rows, indexes, joins, windows, JSON, updates, a vacuum.
create table account (id integer primary key, name text not null, region text not null);
create table entry (id integer primary key, account integer not null references account (id), amount integer not null, note text);

begin;
with recursive n (i) as (select 1 union all select i + 1 from n where i < 5000)
insert into account select i, 'name ' || (i * 7919 % 5003), char(65 + i % 26) || char(65 + i % 7) from n;
with recursive n (i) as (select 1 union all select i + 1 from n where i < 120000)
insert into entry select i, 1 + (i * 31337) % 5000, (i * 2654435761) % 10007 - 5000, substr('lorem ipsum dolor sit amet consectetur adipiscing elit', 1 + i % 20, 5 + i % 30) from n;
commit;

create index entry_account on entry (account, amount);
create index entry_note on entry (note);

select 'rows', count(*), sum(amount), min(amount), max(amount) from entry;
select 'regions', region, count(*), sum(amount) from account join entry on account = account.id group by region order by 4 desc, 2 limit 12;
select 'notes', note, count(*) from entry group by note order by 3 desc, 2 limit 10;
select 'window', id, amount, total from (
  select id, amount, sum(amount) over (partition by account order by id) as total from entry where account < 400
) order by total desc, id limit 10;
select 'json', length(j), json_array_length(j) from (select json_group_array(json_object('id', id, 'note', note)) as j from entry where id <= 20000);
select 'strings', length(group_concat(note, '|')) from entry;

begin;
update entry set note = note || ' / ' || note, amount = amount + 1 where id % 3 = 0;
delete from entry where id % 10 = 7;
savepoint doubt;
delete from entry;
rollback to doubt;
commit;

select 'after', count(*), sum(amount), sum(length(note)) from entry;
select 'blob', length(zeroblob(20000000)), length(hex(zeroblob(1000000)));
vacuum;
analyze;
select 'plan', count(*) from sqlite_stat1;
pragma integrity_check;
