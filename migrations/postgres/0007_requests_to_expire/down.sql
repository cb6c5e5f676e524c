DROP INDEX requests_to_expire;
