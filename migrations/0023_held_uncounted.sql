-- A flow's count tells nobody of what is held: it is counted in once it is shown.
create function is_counted(m media) returns boolean language sql immutable as $$
    select m.state not in ('deleted', 'trashed') and m.review is distinct from 'held'
$$;
create or replace function note_flow_joined() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n)
    select j.flow_id, count(*) from joined j join media m on m.id = j.media_id and is_counted(m) group by j.flow_id;
    return null;
end $$;
create or replace function note_flow_left() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n)
    select l.flow_id, -count(*) from parted l join media m on m.id = l.media_id and is_counted(m) group by l.flow_id;
    return null;
end $$;

drop trigger media_deleted on media;
drop trigger media_restored on media;
drop function note_media_deleted();
drop function note_media_restored();
create function note_media_shown() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n)
    select flow_id, case when is_counted(new) then 1 else -1 end from flow_media where media_id = new.id;
    return null;
end $$;
create trigger media_shown after update of state, review on media for each row
    when (is_counted(old) <> is_counted(new)) execute function note_media_shown();

insert into flow_changes (flow_id, n)
select f.flow_id, -count(*) from flow_media f join media m on m.id = f.media_id
where m.state not in ('deleted', 'trashed') and m.review = 'held' group by f.flow_id;
