-- SPDX-License-Identifier: Apache-2.0
-- How long a finished task had its worker: what the cost of another search is estimated from. 0: not
-- known, as for everything that was finished before this schema.
ALTER TABLE tasks ADD COLUMN seconds REAL NOT NULL DEFAULT 0;
