-- What a picture was made from, where it is another one's edit, and by which edits, where they were made here. The source may
-- be gone.
alter table media add column source uuid, add column edits text;
