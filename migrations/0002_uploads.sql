-- The first answer under an Idempotency-Key is kept word for word; without one, `media_id` is the upload that holds the key.
alter table idempotency_keys alter column media_id set not null;
alter table idempotency_keys add column answer json;

create index media_deleted on media (id) where state = 'deleted';
