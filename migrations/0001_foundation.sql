create table apps (
    id         integer generated always as identity primary key,
    name       text not null unique,
    created_at timestamptz not null default now()
);

create table api_keys (
    hash       bytea primary key,
    app_id     integer not null references apps on delete cascade,
    created_at timestamptz not null default now()
);

-- A user that is being deleted keeps its row until every byte is gone; its name is free at once.
create table users (
    id             bigint generated always as identity primary key,
    app_id         integer not null references apps,
    name           text collate "C" not null,
    quota_bytes    bigint check (quota_bytes >= 0),
    used_bytes     bigint not null default 0 check (used_bytes >= 0),
    reserved_bytes bigint not null default 0 check (reserved_bytes >= 0),
    media_count    bigint not null default 0 check (media_count >= 0),
    suspended      boolean not null default false,
    jwt_not_before timestamptz,
    created_at     timestamptz not null default now(),
    deleted_at     timestamptz
) with (fillfactor = 70);
create unique index users_by_name on users (app_id, name) where deleted_at is null;

create table sessions (
    id         uuid primary key,
    user_id    bigint not null references users on delete cascade,
    scopes     text[] not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default now()
);
create index sessions_by_user on sessions (user_id);
create index sessions_by_expiry on sessions (expires_at);

-- One session may have two tokens: the one the app was given and the one a browser got by entering.
create table session_tokens (
    hash       bytea primary key,
    session_id uuid not null references sessions on delete cascade
);
create index session_tokens_by_session on session_tokens (session_id);

create table entrances (
    hash       bytea primary key,
    session_id uuid not null references sessions on delete cascade,
    expires_at timestamptz not null
);
create index entrances_by_session on entrances (session_id);

create table flows (
    id          bigint generated always as identity primary key,
    app_id      integer not null references apps,
    name        text collate "C" not null,
    square      boolean not null default false,
    visibility  text not null default 'private' check (visibility in ('private', 'public')),
    posting     text not null default 'editors' check (posting in ('editors', 'users')),
    description text not null default '',
    created_at  timestamptz not null default now(),
    unique (app_id, name)
);

create table flow_members (
    flow_id bigint not null references flows on delete cascade,
    user_id bigint not null references users on delete cascade,
    role    text not null check (role in ('viewer', 'editor', 'admin')),
    primary key (flow_id, user_id)
);
create index flow_members_by_user on flow_members (user_id);

-- The id is a UUIDv7: newest first is the order of the primary key.
create table media (
    id          uuid primary key,
    app_id      integer not null references apps,
    owner_id    bigint not null references users,
    state       text not null check (state in ('processing', 'ready', 'failed', 'deleted')),
    reason      text,
    kind        text not null check (kind in ('image', 'audio', 'video', 'file')),
    mime        text not null,
    filename    text not null,
    width       integer,
    height      integer,
    bytes       bigint not null check (bytes > 0),
    total_bytes bigint not null check (total_bytes >= bytes),
    sha256      bytea not null,
    placeholder bytea,
    square      boolean not null,
    rungs       jsonb not null default '[]',
    tags        jsonb not null default '{}',
    stores      text[] not null default '{local}',
    job_id      uuid,
    created_at  timestamptz not null default now()
);
create index media_by_owner on media (owner_id, id desc);
create index media_by_app on media (app_id, id desc);

create table flow_media (
    flow_id  bigint not null references flows on delete cascade,
    media_id uuid not null references media on delete cascade,
    primary key (flow_id, media_id)
);
create index flow_media_by_media on flow_media (media_id);

-- id is the handle that the API speaks of and opens nothing; token is what a URL carries, signed.
create table links (
    id         uuid primary key,
    token      uuid not null unique,
    media_id   uuid not null references media on delete cascade,
    audience   text not null check (audience in ('standing', 'owner', 'user', 'anyone')),
    user_id    bigint references users on delete cascade,
    original   boolean not null,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    check ((audience = 'user') = (user_id is not null))
);
create index links_by_media on links (media_id);
create index links_by_user on links (user_id) where user_id is not null;

-- Bytes promised to an upload. Without expires_at it belongs to the ladder job of its media.
create table reservations (
    id         uuid primary key,
    user_id    bigint not null references users,
    media_id   uuid not null unique,
    bytes      bigint not null check (bytes >= 0),
    expires_at timestamptz,
    created_at timestamptz not null default now()
);
create index reservations_by_expiry on reservations (expires_at) where expires_at is not null;
create index reservations_by_user on reservations (user_id);

create table idempotency_keys (
    user_id     bigint not null references users on delete cascade,
    key         text not null,
    fingerprint bytea not null,
    media_id    uuid,
    held_until  timestamptz not null,
    expires_at  timestamptz not null,
    primary key (user_id, key)
);
create index idempotency_keys_by_expiry on idempotency_keys (expires_at);

create table jobs (
    id          uuid primary key,
    app_id      integer not null references apps,
    user_id     bigint references users on delete set null,
    media_id    uuid,
    kind        text not null,
    state       text not null default 'queued'
                check (state in ('queued', 'running', 'completed', 'failed', 'cancelled')),
    attempts    integer not null default 0,
    reason      text,
    created_at  timestamptz not null default now(),
    started_at  timestamptz,
    finished_at timestamptz
);
create index jobs_unfinished on jobs (kind, created_at) where state in ('queued', 'running');
create index jobs_by_finish on jobs (finished_at) where finished_at is not null;

-- The outbox of revocations: written in the revoking transaction, read by every gateway.
create table revocations (
    id  bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    tag text not null,
    at  timestamptz not null default now()
);
create index revocations_by_xid on revocations (xid);

create table heartbeats (
    service  text not null,
    instance text not null,
    seen_at  timestamptz not null default now(),
    primary key (service, instance)
);

insert into apps (name) values ('default');
insert into flows (app_id, name, posting, description)
select id, 'general', 'users', 'Where uploads go that name no flow.' from apps;
