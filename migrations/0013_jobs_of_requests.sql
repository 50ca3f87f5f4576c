-- Which request made a job: its lines in the log and its spans in a trace are found by it.
alter table jobs add column request_id text;
