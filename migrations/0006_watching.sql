-- What happens, for those who watch: of a job, and of all that is a user's. The order is that of (xid, id), as far as no
-- transaction that began earlier is under way; the rows of one watcher go back as far as jobs do.
-- Nothing refers to users or apps: to look whether the user is there locks the user's row, in another order than quotas do.
create table events (
    xid     xid8 not null default pg_current_xact_id(),
    id      bigint generated always as identity,
    app_id  integer,
    user_id bigint,
    job_id  uuid,
    kind    text not null check (kind in ('job', 'progress', 'image')),
    data    jsonb not null,
    at      timestamptz not null default now(),
    primary key (xid, id)
);
create index events_by_job on events (job_id, xid, id) where job_id is not null;
create index events_by_user on events (user_id, xid, id) where user_id is not null;
create index events_by_time on events (at);
create index events_of_progress on events (at) where kind = 'progress';

-- A job of many images is one row here and a job of its own for each image that is under way, a few at a time.
alter table jobs drop constraint jobs_state_check;
alter table jobs add constraint jobs_state_check
    check (state in ('queued', 'running', 'completed', 'failed', 'failed_partial', 'cancelled'));
alter table jobs add column part_of uuid references jobs on delete cascade;
create index jobs_parts on jobs (part_of) where part_of is not null;

-- The images of such a job, in order. `media_id` and `token` (of the standing link) are told before there is a media.
create table job_images (
    job_id   uuid not null references jobs on delete cascade,
    position integer not null,
    media_id uuid not null,
    token    uuid not null,
    source   text not null,
    page     text,
    state    text not null default 'waiting' check (state in ('waiting', 'running', 'stored', 'there', 'failed', 'cancelled')),
    reason   text,
    primary key (job_id, position)
);
create index job_images_waiting on job_images (job_id, position) where state = 'waiting';
create index job_images_running on job_images (job_id) where state = 'running';

-- What was imported from the server's disk for a user, by checksum: it is stored once.
create table imported (
    user_id  bigint not null references users on delete cascade,
    sha256   bytea not null,
    media_id uuid not null references media on delete cascade,
    primary key (user_id, sha256)
);
create index imported_by_media on imported (media_id);
