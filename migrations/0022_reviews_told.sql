-- Apps are told what came of a look at a media that a flow flags or holds, so that somebody looks at what is held.
-- What they are told of a media has its review and score.
create function told_of(m media) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'id', replace(m.id::text, '-', ''), 'owner', (select name from users where id = m.owner_id),
        'kind', m.kind, 'status', m.state, 'reason', m.reason, 'mime', m.mime, 'filename', m.filename,
        'width', m.width, 'height', m.height, 'bytes', m.bytes, 'total_bytes', m.total_bytes,
        'sha256', encode(m.sha256, 'hex'), 'review', m.review, 'unsafe', m.unsafe)
$$;

create or replace function tell_of_media() returns trigger language plpgsql as $$
declare
    told jsonb;
begin
    if not exists (select from webhooks where app_id = new.app_id and enabled) then
        return null;
    end if;
    told := told_of(new);
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

-- At the end of the transaction, which may have written the score first and then what follows from it.
create function tell_of_review() returns trigger language plpgsql as $$
begin
    perform tell_webhooks(m.app_id, 'media.reviewed', m.id, told_of(m)) from media m
    where m.id = new.id and m.state <> 'deleted' and (m.review, m.unsafe) is not distinct from (new.review, new.unsafe)
      and exists (select from webhooks where app_id = new.app_id and enabled);
    return null;
end $$;
create constraint trigger media_told_reviewed after update of review, unsafe on media
    deferrable initially deferred for each row
    when (old.review is distinct from new.review or (old.unsafe is distinct from new.unsafe and new.review is not null))
    execute function tell_of_review();

-- What the service does of itself is no job that somebody waits for.
drop trigger job_told_ended on jobs;
create trigger job_told_ended after update of state on jobs for each row
    when (old.state in ('queued', 'running') and new.state not in ('queued', 'running') and new.part_of is null
          and new.app_id is not null
          and new.kind not in ('ladder', 'purge_media', 'copy', 'after_ingest', 'classify', 'judge'))
    execute function tell_of_job();
