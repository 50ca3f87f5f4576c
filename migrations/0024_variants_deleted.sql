-- A variant that was deleted leaves its number behind: an address that has it must never show another.
alter table variants add column deleted boolean not null default false;
alter table variants drop constraint variants_number_check;
alter table variants add constraint variants_number_check check (number between 1 and 256);
alter table variants drop constraint variants_media_id_edits_format_key;
create unique index variants_live on variants (media_id, edits, format) where not deleted;
