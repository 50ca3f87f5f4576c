-- Media that were shared by mail. Addresses are known by a hash whose key is sealed by the master key; `mail` is sealed too,
-- and gone once it has been sent or given up. Rows are kept for as long as daily limits count them.
-- Nothing refers to users: whoever is deleted has mailed all the same, and limits of recipients go on holding.
create table shares (
    id         uuid primary key,
    app_id     integer not null,
    user_id    bigint not null,
    media_id   uuid not null,
    link_id    uuid not null,
    recipient  uuid not null,
    mail       bytea,
    created_at timestamptz not null
);
create index shares_by_app on shares (app_id, created_at);
create index shares_by_user on shares (user_id, created_at);
create index shares_by_recipient on shares (app_id, recipient, created_at);
create index shares_by_time on shares (created_at);

-- Recipients who want no mails.
create table unsubscribed (
    recipient uuid primary key,
    at        timestamptz not null default now()
);

-- The key of the hashes: one row, made with the first mail.
create table recipient_key (
    one    boolean primary key default true check (one),
    sealed bytea not null
);
