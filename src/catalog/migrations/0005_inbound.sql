ALTER TABLE conversions ADD COLUMN payment TEXT;
