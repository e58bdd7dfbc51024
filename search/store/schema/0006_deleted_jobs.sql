-- SPDX-License-Identifier: Apache-2.0
-- Jobs that were deleted: their numbers, and those of their trials and tasks, never come back. A lease
-- of an earlier life would else be good for another task, and a name for another job.
CREATE TABLE deleted_jobs (
  id INTEGER PRIMARY KEY,
  delete_time INTEGER NOT NULL,
  last_trial INTEGER NOT NULL,
  last_task INTEGER NOT NULL
) STRICT;

-- The log of a job is append-only as long as the job is there.
DROP TRIGGER job_events_keep_rows;
CREATE TRIGGER job_events_keep_rows BEFORE DELETE ON job_events
WHEN EXISTS (SELECT 1 FROM jobs WHERE id = old.job) BEGIN
  SELECT RAISE(ABORT, 'job_events is append-only');
END;
