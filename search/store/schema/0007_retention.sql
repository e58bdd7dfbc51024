-- SPDX-License-Identifier: Apache-2.0
-- When the raw samples behind a latency were dropped; NULL: they are there.
ALTER TABLE latencies ADD COLUMN samples_dropped INTEGER;

-- Supernets that were deleted. Numbers of measurements never come back: jobs name what they learnt
-- from by them. last_measurement is the highest there was; 0: none.
CREATE TABLE deleted_supernets (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  hash INTEGER NOT NULL REFERENCES keys,
  delete_time INTEGER NOT NULL,
  last_measurement INTEGER NOT NULL
) STRICT;
