-- What every sweep asks for is found without reading the whole of a table that grows.
create index links_by_expiry on links (expires_at) where expires_at is not null;
create index users_deleted on users (id) where deleted_at is not null;

-- What a view asks of a link, of its media and of the flows that this is in, is read off the indexes that find them: the
-- rows of media are four fifths of the database, and with millions of them each row that a view needs is a read of its own.
alter table links drop constraint links_media_id_fkey, drop constraint links_token_key;
alter table links add constraint links_token_key
    unique (token) include (media_id, audience, user_id, original, expires_at);
alter table flow_media drop constraint flow_media_media_id_fkey;
drop index flow_media_by_media;
create index flow_media_by_media on flow_media (media_id, flow_id);
alter table media drop constraint media_pkey;
alter table media add constraint media_pkey primary key (id) include (app_id, owner_id, state, mime, filename);
alter table links add constraint links_media_id_fkey foreign key (media_id) references media on delete cascade;
alter table flow_media add constraint flow_media_media_id_fkey
    foreign key (media_id) references media on delete cascade;
