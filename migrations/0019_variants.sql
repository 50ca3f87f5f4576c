-- What may be made of a media on the fly. The number of one is in its address, and in the name that nginx keeps it under.
create table variants (
    media_id uuid not null references media on delete cascade,
    number   smallint not null check (number between 1 and 64),
    edits    text not null,
    format   text not null,
    primary key (media_id, number),
    unique (media_id, edits, format)
);

-- Whoever cleans up what nginx keeps is told of the media that have any, so that the others cost nothing.
create function forget_variants() returns trigger language plpgsql as $$
begin
    if exists (select from variants where media_id = new.id) then
        insert into revocations (tag) values ('variants:' || replace(new.id::text, '-', ''));
    end if;
    return null;
end $$;
create trigger media_forget_variants after update of state on media for each row
    when (new.state <> old.state and new.state in ('deleted', 'trashed')) execute function forget_variants();
