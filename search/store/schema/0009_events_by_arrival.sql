-- SPDX-License-Identifier: Apache-2.0
-- Logs lie in the order in which they were written, not job by job: of a commit that holds events of
-- many jobs, each dirtied four pages or five of its own, since a page that fills up amid others is
-- evened out with its neighbours. Now a commit's events are neighbours, and the index that finds a
-- job's among them is small.
CREATE TABLE kept_events (
  job INTEGER NOT NULL REFERENCES jobs,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  time INTEGER NOT NULL,
  UNIQUE (job, seq)
) STRICT;
INSERT INTO kept_events SELECT job, seq, kind, payload, time FROM job_events ORDER BY job, seq;
DROP TABLE job_events;
ALTER TABLE kept_events RENAME TO job_events;
CREATE TRIGGER job_events_keep_rows BEFORE DELETE ON job_events
WHEN EXISTS (SELECT 1 FROM jobs WHERE id = old.job) BEGIN
  SELECT RAISE(ABORT, 'job_events is append-only');
END;
CREATE TRIGGER job_events_keep_content BEFORE UPDATE ON job_events BEGIN
  SELECT RAISE(ABORT, 'job_events is append-only');
END;
