-- How many live media a flow has, without counting them: what it had when last summed up, and the changes since. Changes
-- are rows of their own, so that uploads to one flow do not wait for each other; the sweep sums them up.
create table flow_counts (
    flow_id bigint primary key references flows on delete cascade,
    media   bigint not null
);
create table flow_changes (
    id      bigint generated always as identity primary key,
    flow_id bigint not null,
    n       bigint not null
);
create index flow_changes_by_flow on flow_changes (flow_id) include (n);

create function note_flow_joined() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n) select flow_id, count(*) from joined group by flow_id;
    return null;
end $$;
create trigger flow_media_joined after insert on flow_media
    referencing new table as joined for each statement execute function note_flow_joined();

-- What is deleted was counted out when it was; what a flow loses that is itself deleted is nobody's any more.
create function note_flow_left() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n)
    select l.flow_id, -count(*) from parted l join media m on m.id = l.media_id and m.state <> 'deleted'
    group by l.flow_id;
    return null;
end $$;
create trigger flow_media_left after delete on flow_media
    referencing old table as parted for each statement execute function note_flow_left();

create function note_media_deleted() returns trigger language plpgsql as $$
begin
    insert into flow_changes (flow_id, n) select flow_id, -1 from flow_media where media_id = new.id;
    return null;
end $$;
create trigger media_deleted after update of state on media for each row
    when (old.state <> 'deleted' and new.state = 'deleted') execute function note_media_deleted();

insert into flow_counts (flow_id, media)
select f.flow_id, count(*) from flow_media f join media m on m.id = f.media_id and m.state <> 'deleted' group by f.flow_id;

-- Images by where they came from, and by what people call them; a hash index would slow down with every `image.jpg`.
create index media_by_origin on media (md5(origin ->> 'url')) where origin is not null;
create index media_by_name on media (app_id, filename, id);
