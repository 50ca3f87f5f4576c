-- A few colours of a picture, in 24 bits each, the one that most of it has first; and 64 bits that are nearly the same of
-- pictures that look the same. Null: the media has no picture, or was stored before these were looked for.
alter table media add column palette integer[];
alter table media add column phash bigint;
