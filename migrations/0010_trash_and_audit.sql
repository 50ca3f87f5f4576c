-- The trash: a media of it is nobody's to view and in no list, until it is restored, or purged once its time is over. What a
-- view asks of it is `state`, as before; what it was goes on in `restores_to`, for its ladder does too.
alter table media drop constraint media_state_check;
alter table media add column restores_to text, add column trashed_at timestamptz, add column purge_at timestamptz;
alter table media add constraint media_state_check
    check (state in ('processing', 'ready', 'failed', 'trashed', 'deleted'));
alter table media add constraint media_trash_check check (
    (state = 'trashed') = (restores_to is not null and trashed_at is not null and purge_at is not null)
    and coalesce(restores_to in ('processing', 'ready', 'failed'), true));
create index media_trash_by_owner on media (owner_id, id) where state = 'trashed';
create index media_trash_by_app on media (app_id, id) where state = 'trashed';
create index media_trash_by_purge on media (purge_at) where state = 'trashed';

-- A flow has as many media as are live in it: trash is not.
create or replace function note_flow_joined() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n)
    select j.flow_id, count(*) from joined j join media m on m.id = j.media_id and m.state not in ('deleted', 'trashed')
    group by j.flow_id;
    return null;
end $$;
create or replace function note_flow_left() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n)
    select l.flow_id, -count(*) from parted l join media m on m.id = l.media_id and m.state not in ('deleted', 'trashed')
    group by l.flow_id;
    return null;
end $$;
drop trigger media_deleted on media;
create trigger media_deleted after update of state on media for each row
    when (old.state not in ('deleted', 'trashed') and new.state in ('deleted', 'trashed'))
    execute function note_media_deleted();
create function note_media_restored() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n) select flow_id, 1 from flow_media where media_id = new.id;
    return null;
end $$;
create trigger media_restored after update of state on media for each row
    when (old.state = 'trashed' and new.state not in ('deleted', 'trashed')) execute function note_media_restored();

-- The audit log: who did what. Users are numbers here, so that nothing is left of a name once its user is gone; they, and
-- all that a row is about, are not referred to, since a row outlives them and must lock nothing of theirs.
-- `actor_id` is who did it where `actor` is a user, `user_id` whose account or media it was done to.
create table audit (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default clock_timestamp(),
    app_id     integer,
    actor      text not null check (actor in ('operator', 'app', 'user', 'system')),
    actor_id   bigint,
    session_id uuid,
    action     text not null,
    user_id    bigint,
    media_id   uuid,
    link_id    uuid,
    flow       text,
    request_id text,
    changes    jsonb not null default '{}',
    check (actor = 'user' or (actor_id is null and session_id is null))
);
create index audit_by_app on audit (app_id, id);
create index audit_by_user on audit (user_id, id) where user_id is not null;
create index audit_by_actor on audit (actor_id, id) where actor_id is not null and actor_id is distinct from user_id;
create index audit_by_media on audit (media_id, id) where media_id is not null;

create function refuse_to_forget() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('chipmunk.forgetting', true) = 'on' then
        return old;
    end if;
    raise exception 'the audit log is only added to' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_keeps_rows before update or delete on audit for each row execute function refuse_to_forget();
create trigger audit_keeps_all before truncate on audit for each statement execute function refuse_to_forget();
alter table audit enable always trigger audit_keeps_rows, enable always trigger audit_keeps_all;

-- The one way by which rows go: the oldest first, up to `most`, none that is younger than `age`.
create function forget_audit(age interval, most integer) returns bigint language plpgsql as $$
declare gone bigint;
begin
    perform set_config('chipmunk.forgetting', 'on', true);
    delete from audit where id in (
        select id from (select id, at from audit order by id limit most) oldest where at < now() - age);
    get diagnostics gone = row_count;
    perform set_config('chipmunk.forgetting', 'off', true);
    return gone;
end $$;
