DROP TABLE key_addresses;
DROP TABLE usage_hours;
DROP INDEX key_usage_with_news;
ALTER TABLE key_usage DROP COLUMN addresses_mailed_at;
ALTER TABLE key_usage DROP COLUMN new_addresses;
ALTER TABLE key_usage DROP COLUMN last_agent;
ALTER TABLE key_usage DROP COLUMN last_ip;
ALTER TABLE key_usage DROP COLUMN amount;
