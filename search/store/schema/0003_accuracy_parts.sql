-- SPDX-License-Identifier: Apache-2.0
-- Accuracies that are measured in parts. A part waits here, whole, until the evaluation is complete:
-- the transaction that stores the joined measurement takes its parts out, and the bits that they were
-- live on in that measurement's evidence.
CREATE TABLE accuracy_parts (
  task INTEGER PRIMARY KEY REFERENCES tasks,
  artifact INTEGER NOT NULL REFERENCES keys,
  dataset INTEGER NOT NULL REFERENCES keys,
  split INTEGER NOT NULL REFERENCES keys,
  first_image INTEGER NOT NULL,
  images INTEGER NOT NULL,
  top1_correct INTEGER NOT NULL,
  top5_correct INTEGER NOT NULL,
  top1_bitmap BLOB NOT NULL,
  worker INTEGER NOT NULL REFERENCES keys,
  worker_build INTEGER NOT NULL REFERENCES keys,
  lease_token TEXT NOT NULL,
  time INTEGER NOT NULL
) STRICT;

-- How many images the split has; 0: not known yet.
ALTER TABLE datasets ADD COLUMN images INTEGER NOT NULL DEFAULT 0;
