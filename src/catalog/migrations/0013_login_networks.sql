-- Codes are counted by address and by network (cut, as `/24` or `/48`), and only those that were mailed: whoever asks for somebody else's
-- address uses up none but those of their own network.
ALTER TABLE login_codes ADD COLUMN network TEXT NOT NULL DEFAULT '';
ALTER TABLE login_codes ADD COLUMN mailed SMALLINT NOT NULL DEFAULT 1;
