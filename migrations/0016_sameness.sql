-- A few colours of a picture, in 24 bits each, the one that most of it has first; and 64 bits that are nearly the same of
-- pictures that look the same. Null: the media has no picture, or was stored before these were looked for.
alter table media add column palette integer[];
alter table media add column phash bigint;

-- The same bits as lists, of an app and of an owner: 16 of them are looked up, and the newest that have these are read off an
-- index. A media is listed once its ladder has ended, since an upload does not wait for eight more indexes.
create table media_hashes (
    media_id uuid primary key references media on delete cascade,
    app_id   integer not null,
    owner_id bigint not null,
    phash    bigint not null
);
create index media_hashes_by_app_0 on media_hashes (app_id, ((phash & 65535)::integer), media_id);
create index media_hashes_by_app_1 on media_hashes (app_id, (((phash >> 16) & 65535)::integer), media_id);
create index media_hashes_by_app_2 on media_hashes (app_id, (((phash >> 32) & 65535)::integer), media_id);
create index media_hashes_by_app_3 on media_hashes (app_id, (((phash >> 48) & 65535)::integer), media_id);
create index media_hashes_by_owner_0 on media_hashes (owner_id, ((phash & 65535)::integer), media_id);
create index media_hashes_by_owner_1 on media_hashes (owner_id, (((phash >> 16) & 65535)::integer), media_id);
create index media_hashes_by_owner_2 on media_hashes (owner_id, (((phash >> 32) & 65535)::integer), media_id);
create index media_hashes_by_owner_3 on media_hashes (owner_id, (((phash >> 48) & 65535)::integer), media_id);

create function list_hash() returns trigger language plpgsql as $$
begin
    insert into media_hashes (media_id, app_id, owner_id, phash) values (new.id, new.app_id, new.owner_id, new.phash)
    on conflict do nothing;
    return null;
end $$;
create trigger media_hash_listed after update of state on media for each row
    when (new.phash is not null and old.state = 'processing' and new.state <> 'deleted') execute function list_hash();
