-- What people say of a media. The title is the file name until somebody sets one. What a music file says of itself was in
-- `tags`, which is the word for what people put on it.
alter table media rename column tags to music;
alter table media add column title text;
alter table media add column notes text;
alter table media add column tags text[] not null default '{}';

-- All that it can be found by: with weight A what everybody may find it by who sees it, without one what its owner may.
-- Null: the sweep has not come to it yet.
alter table media add column words tsvector;
create index media_without_words on media (id) where words is null;

-- The same words as lists, of an app and of an owner, whose newest media are read off an index without sorting any: a GIN
-- index has all that a word is in or nothing.
create table media_words (
    app_id   integer not null,
    owner_id bigint not null,
    media_id uuid not null,
    word     text collate "C" not null
);
create index media_words_by_owner on media_words (owner_id, word, media_id);
create index media_words_by_app on media_words (app_id, word, media_id);

create function list_words() returns trigger language plpgsql as $$
begin
    if tg_op <> 'INSERT' and old.words is not null then
        delete from media_words w using unnest(tsvector_to_array(old.words)) as gone (word)
        where w.owner_id = old.owner_id and w.word = gone.word and w.media_id = old.id
          and (tg_op = 'DELETE' or not gone.word = any(tsvector_to_array(coalesce(new.words, ''))));
    end if;
    if tg_op <> 'DELETE' and new.words is not null then
        insert into media_words (app_id, owner_id, media_id, word)
        select new.app_id, new.owner_id, new.id, fresh.word from unnest(tsvector_to_array(new.words)) as fresh (word)
        where tg_op = 'INSERT' or old.words is null or not fresh.word = any(tsvector_to_array(old.words));
    end if;
    return null;
end $$;
create trigger media_words_listed after insert or delete or update of words on media
    for each row execute function list_words();
