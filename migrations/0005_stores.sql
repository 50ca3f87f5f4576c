-- Backends: where bytes can lie. `role` is what a backend is to flows that name none; row 1 is the local volume.
create table backends (
    id         integer generated always as identity primary key,
    name       text collate "C" not null unique,
    url        text not null,
    options    jsonb not null default '{}',
    secret     bytea,
    role       text check (role in ('primary', 'backup', 'archive')),
    choosable  boolean not null default false,
    up         boolean,
    reason     text,
    checked_at timestamptz,
    changed_at timestamptz not null default now(),
    created_at timestamptz not null default now()
);
create unique index backends_primary on backends (role) where role = 'primary';
insert into backends (name, url, role) values ('local', 'local:', 'primary');

create table flow_backends (
    flow_id    bigint not null references flows on delete cascade,
    backend_id integer not null references backends,
    role       text not null check (role in ('primary', 'backup', 'archive')),
    primary key (flow_id, backend_id)
);
create unique index flow_backends_primary on flow_backends (flow_id) where role = 'primary';
create index flow_backends_by_backend on flow_backends (backend_id);

-- Copies of a media. One without rows lies on the local volume alone; else every place that it lies or should lie has one.
-- Without a role a copy is on its way out. `turn` is another each time that what lies there stops counting: what was put in
-- an earlier one is no copy. `objects` is {file: {key, bytes, sha256}}; `cid` that of a plain original on IPFS.
create table copies (
    media_id   uuid not null references media,
    backend_id integer not null references backends,
    role       text check (role in ('primary', 'backup', 'archive')),
    state      text not null check (state in ('wanted', 'stored', 'damaged')),
    objects    jsonb not null default '{}',
    cid        text,
    leave_at   timestamptz,
    turn       uuid not null default gen_random_uuid(),
    checked_at timestamptz,
    primary key (media_id, backend_id)
);
create index copies_by_backend on copies (backend_id, media_id);
create index copies_unsettled on copies (media_id) where state <> 'stored' or role is null;

-- The backend that serves the media; null: the local volume.
alter table media add column home integer references backends;
create index media_by_home on media (home) where home is not null;
alter table media drop column stores;
alter table links drop constraint links_media_id_fkey;
alter table flow_media drop constraint flow_media_media_id_fkey;
alter table copies drop constraint copies_media_id_fkey;
alter table media drop constraint media_pkey;
alter table media add constraint media_pkey
    primary key (id) include (app_id, owner_id, state, mime, filename, home);
alter table links add constraint links_media_id_fkey foreign key (media_id) references media on delete cascade;
alter table flow_media add constraint flow_media_media_id_fkey
    foreign key (media_id) references media on delete cascade;
alter table copies add constraint copies_media_id_fkey foreign key (media_id) references media;

-- The key that a media's encrypted copies are under, sealed by the master key of that fingerprint.
create table media_keys (
    media_id uuid primary key references media on delete cascade,
    sealed   bytea not null,
    master   text not null
);
create index media_keys_by_master on media_keys (master);

-- What of ours an IPFS node has pinned, once for each object that has this content: it is unpinned with the last.
create table pins (
    backend_id integer not null references backends,
    cid        text collate "C" not null,
    object     text collate "C" not null,
    bytes      bigint not null,
    created_at timestamptz not null default now(),
    primary key (backend_id, cid, object)
);
create index pins_by_object on pins (backend_id, object, cid);

-- Uploads that take more than one request. The id is that of the reservation and of the media to be. One that was made
-- with the app's key (`by_app`) may go to any flow. Who appends to it is its holder, until `held_until`.
create table uploads (
    id         uuid primary key,
    app_id     integer not null references apps,
    user_id    bigint not null references users on delete cascade,
    kind       text not null check (kind in ('tus', 'direct', 'presigned')),
    by_app     boolean not null default false,
    state      text not null default 'open' check (state in ('open', 'ingesting', 'stored', 'failed')),
    flows      text[] not null,
    filename   text,
    metadata   text not null default '',
    mime       text,
    meta       jsonb not null default '{}',
    length     bigint check (length >= 0),
    "offset"   bigint not null default 0 check ("offset" >= 0),
    concat     text check (concat in ('partial', 'final')),
    parts      uuid[] not null default '{}',
    backend_id integer references backends,
    object_key text,
    multipart  text,
    holder     uuid,
    held_until timestamptz,
    media_id   uuid,
    job_id     uuid,
    problem    jsonb,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index uploads_by_user on uploads (user_id);
create index uploads_by_expiry on uploads (expires_at);
create index uploads_ingesting on uploads (id) where state = 'ingesting';

-- Of a media that was fetched: {url, page}, where it came from and the page that showed it there.
alter table media add column origin jsonb;

-- Of a media, what the caller said of it beyond what it is: one JSON object.
alter table media add column meta jsonb;

-- Jobs that are about more than one media say what with and how far; the operator's belong to no app.
alter table jobs alter column app_id drop not null;
alter table jobs add column payload jsonb not null default '{}';
alter table jobs add column progress jsonb;
