-- Several apps on one installation. What is null is as the settings say; `quota_bytes` null: no limit.
alter table apps
    add column quota_bytes        bigint check (quota_bytes >= 0),
    add column used_bytes         bigint not null default 0,
    add column reserved_bytes     bigint not null default 0,
    add column user_quota_bytes   bigint check (user_quota_bytes >= 0),
    add column calls_per_minute   integer check (calls_per_minute > 0),
    add column uploads_per_minute integer check (uploads_per_minute > 0),
    add column mails_per_day      integer check (mails_per_day > 0),
    add column deleted_at         timestamptz;
alter table apps set (fillfactor = 50);
alter table apps drop constraint apps_name_key;
create unique index apps_by_name on apps (name) where deleted_at is null;

-- `expires_at` is set where another has taken its place; the key of the settings is the first app's and changed there.
alter table api_keys
    add column id            uuid,
    add column scopes        text[] not null default '{admin}',
    add column description   text not null default '',
    add column expires_at    timestamptz,
    add column from_settings boolean not null default false;
update api_keys set id = gen_random_uuid(), from_settings = true;
alter table api_keys alter column id set not null, add unique (id);
create index api_keys_by_app on api_keys (app_id);

-- Only of an app that has a quota are the bytes counted in its row, so that no other app's uploads wait for one another.
-- It is full where a reservation would pass it; what is given back or settled never is refused.
alter table users add column counted boolean not null default false;
create function count_for_app() returns trigger language plpgsql as $$
declare
    more_used     bigint := new.used_bytes - old.used_bytes;
    more_reserved bigint := new.reserved_bytes - old.reserved_bytes;
begin
    update apps set used_bytes = used_bytes + more_used, reserved_bytes = reserved_bytes + more_reserved
    where id = new.app_id and (more_reserved <= 0 or quota_bytes is null
                               or used_bytes + reserved_bytes + more_used + more_reserved <= quota_bytes);
    if not found then
        raise exception 'the quota of app % is full', new.app_id using errcode = 'CM001';
    end if;
    return null;
end $$;
create trigger users_count_for_app after update of used_bytes, reserved_bytes on users for each row
    when (new.counted and (new.used_bytes, new.reserved_bytes) is distinct from (old.used_bytes, old.reserved_bytes))
    execute function count_for_app();

alter table audit
    add column key_id uuid,
    add constraint audit_keys_are_apps check (key_id is null or actor = 'app');
