-- SPDX-License-Identifier: Apache-2.0
-- The last lives of the controller, by its start count. The secret signs the leases that it gives in
-- that life, so that a later life knows them again; tasks_before is the highest task there was when it
-- began. Copies that `forall-controller backup` makes have no rows here.
CREATE TABLE lives (
  epoch INTEGER PRIMARY KEY,
  secret BLOB NOT NULL,
  tasks_before INTEGER NOT NULL
) STRICT;
