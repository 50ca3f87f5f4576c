-- Where apps want to be told of what happens. `events` null: of everything. A secret that was replaced signs beside the new
-- one until `before_until`.
create table webhooks (
    id              bigint generated always as identity primary key,
    app_id          integer not null references apps on delete cascade,
    name            text collate "C" not null,
    url             text not null,
    events          text[],
    enabled         boolean not null default true,
    gone            boolean not null default false,
    secret          bytea not null,
    before          bytea,
    before_until    timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error      text,
    last_status     integer,
    failing_since   timestamptz,
    created_at      timestamptz not null default now(),
    unique (app_id, name)
);

-- A UUIDv7 (RFC 9562), which PostgreSQL itself makes only from version 18 on.
create function id_of_now() returns uuid language sql volatile as $$
    select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
            || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$$;

-- What is still to be told, or could not be. Rows are written by the transaction that does what they tell of, and taken
-- once they are delivered. Deliveries about one subject (a media, a job) go out in the order of `number`: whoever changes
-- a media holds its row, so that numbers of one subject are in the order of commits.
-- Nothing refers to webhooks: to look whether one is there would lock its row in the middle of an upload.
create table webhook_deliveries (
    number       bigint generated always as identity primary key,
    id           uuid not null unique default id_of_now(),
    webhook_id   bigint not null,
    subject      uuid,
    type         text not null,
    data         jsonb not null,
    at           timestamptz not null default now(),
    state        text not null default 'pending' check (state in ('pending', 'dead')),
    attempts     integer not null default 0,
    next_at      timestamptz not null default now(),
    leased_until timestamptz,
    tried_at     timestamptz,
    error        text,
    status       integer
);
create index webhook_deliveries_due on webhook_deliveries (webhook_id, next_at) where state = 'pending';
create index webhook_deliveries_in_order on webhook_deliveries (webhook_id, subject, number) where state = 'pending';
create index webhook_deliveries_leased on webhook_deliveries (webhook_id) where leased_until is not null;
create index webhook_deliveries_by_state on webhook_deliveries (webhook_id, state, id);
create index webhook_deliveries_dead on webhook_deliveries (tried_at) where state = 'dead';

create function tell_webhooks(app integer, event text, about uuid, told jsonb) returns void language sql as $$
    insert into webhook_deliveries (webhook_id, subject, type, data)
    select id, about, event, told from webhooks
    where app_id = app and enabled and (events is null or event = any(events))
$$;

create function tell_of_media() returns trigger language plpgsql as $$
declare
    told jsonb;
begin
    if not exists (select from webhooks where app_id = new.app_id and enabled) then
        return null;
    end if;
    told := jsonb_build_object(
        'id', replace(new.id::text, '-', ''), 'owner', (select name from users where id = new.owner_id),
        'kind', new.kind, 'status', new.state, 'reason', new.reason, 'mime', new.mime, 'filename', new.filename,
        'width', new.width, 'height', new.height, 'bytes', new.bytes, 'total_bytes', new.total_bytes,
        'sha256', encode(new.sha256, 'hex'));
    if tg_op = 'INSERT' then
        perform tell_webhooks(new.app_id, 'media.created', new.id, told);
    end if;
    if tg_op = 'UPDATE' and old.state = 'trashed' and new.state <> 'deleted' then
        perform tell_webhooks(new.app_id, 'media.restored', new.id, told);
    elsif new.state <> 'processing' then
        perform tell_webhooks(new.app_id, 'media.' || new.state, new.id, told);
    end if;
    return null;
end $$;
create trigger media_told_created after insert on media for each row execute function tell_of_media();
create trigger media_told_changed after update of state on media for each row
    when (old.state <> new.state) execute function tell_of_media();

-- Jobs that somebody started and waits for. The end of a ladder and of a purge are those of their media.
create function tell_of_job() returns trigger language plpgsql as $$
begin
    perform tell_webhooks(new.app_id, 'job.' || new.state, new.id, jsonb_build_object(
        'id', replace(new.id::text, '-', ''), 'kind', new.kind, 'state', new.state, 'reason', new.reason,
        'media', replace(new.media_id::text, '-', ''), 'user', (select name from users where id = new.user_id)));
    return null;
end $$;
create trigger job_told_ended after update of state on jobs for each row
    when (old.state in ('queued', 'running') and new.state not in ('queued', 'running') and new.part_of is null
          and new.app_id is not null and new.kind not in ('ladder', 'purge_media', 'copy'))
    execute function tell_of_job();
