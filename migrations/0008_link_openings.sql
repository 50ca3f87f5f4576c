-- A link that has to be opened before it shows anything: by its password, or by one of so many views. Its audience says so,
-- since the audience is what a view reads off the index. Rows that are there hold to less than the checks ask: none is read.
alter table links
    add column password text,
    add column max_views integer,
    add column views bigint,
    drop constraint links_audience_check,
    add constraint links_audience_check
        check (audience in ('standing', 'owner', 'user', 'anyone', 'openers')) not valid,
    add constraint links_openers_check
        check (case audience when 'openers' then views between 0 and coalesce(max_views, views)
                             else views is null and password is null and max_views is null end) not valid;
