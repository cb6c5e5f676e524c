DROP INDEX keys_by_expiry;
DROP INDEX keys_newest;
