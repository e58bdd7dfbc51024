-- SPDX-License-Identifier: Apache-2.0
-- Which images accuracies are of: what the first worker had under a name and split. Results from
-- others are not mixed with these.
CREATE TABLE datasets (
  name TEXT NOT NULL,
  split TEXT NOT NULL,
  checksum TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  PRIMARY KEY (name, split)
) STRICT, WITHOUT ROWID;
