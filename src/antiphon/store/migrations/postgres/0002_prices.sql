-- What a response cost; NULL where its model has no price.
ALTER TABLE usage ADD COLUMN cost_nano_usd BIGINT;
