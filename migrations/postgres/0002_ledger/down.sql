DROP TABLE operation_digests;
DROP TABLE cashouts;
DROP TABLE idempotency_keys;
DROP TABLE key_volumes;
DROP TABLE operations;
DROP TABLE transfers;
DROP FUNCTION transfers_refuse;
DROP INDEX wallets_by_phone;
ALTER TABLE wallets DROP COLUMN version;
