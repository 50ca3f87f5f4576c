-- What an original's C2PA manifest says, and whether it holds.
alter table media add column provenance jsonb;
