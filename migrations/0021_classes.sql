-- What a model saw in a media, kept apart from what people say of it: classes with scores, the best first, and how likely it is
-- unsafe. Null: it was not looked at, or no model tells.
alter table media add column classes jsonb;
alter table media add column unsafe real;

-- What becomes of what is unsafe follows from the flows: nothing, a flag, or that it is held back from all but the app and its
-- owner until the app approves it, which stands.
alter table flows add column unsafe text not null default 'allow' check (unsafe in ('allow', 'flag', 'hold'));
alter table media add column review text check (review in ('flagged', 'held', 'approved'));
