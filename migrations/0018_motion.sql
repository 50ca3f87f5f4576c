-- What moves in a media, and how: of a video its duration, codecs, frame rate and rotation.
alter table media add column motion jsonb not null default '{}';
