-- What every sweep asks for is found without reading the whole of a table that grows.
create index links_by_expiry on links (expires_at) where expires_at is not null;
create index users_deleted on users (id) where deleted_at is not null;
