-- JWTs name their user and may outlive them: whoever takes a deleted user's name is not opened by those issued before.
-- Of the name a hash alone is kept.
create table departures (
    app_id    integer not null references apps on delete cascade,
    name_hash bytea not null,
    at        timestamptz not null default now(),
    primary key (app_id, name_hash)
);
