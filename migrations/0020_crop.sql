-- Where along its longer side a square is cut out of a picture, 0 to 1; null: nowhere, or, of one that is `square`, at its
-- centre. Kept, so that rungs which are made later have the same part of it.
alter table media add column crop double precision;
