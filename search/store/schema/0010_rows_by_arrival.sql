-- SPDX-License-Identifier: Apache-2.0
-- A result writes where the results beside it write, whatever jobs they are of. Two things lay job by
-- job, and each result of a commit that holds many jobs' dirtied a page of both for itself.
--
-- What became of a trial is in its job's log, and only there. A trial is what was proposed: a row that
-- never changes.
CREATE TABLE kept_trials (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs,
  ordinal INTEGER NOT NULL,
  search_space INTEGER NOT NULL REFERENCES keys,
  revision INTEGER NOT NULL,
  choices TEXT NOT NULL,
  arch INTEGER NOT NULL REFERENCES keys,
  graph INTEGER NOT NULL REFERENCES keys,
  create_time INTEGER NOT NULL,
  UNIQUE (job, ordinal)
) STRICT;
INSERT INTO kept_trials
SELECT id, job, ordinal, search_space, revision, choices, arch, graph, create_time
FROM trials ORDER BY id;
DROP TABLE trials;
ALTER TABLE kept_trials RENAME TO trials;

-- Which events are a job's is entered for thousands of them at once, a row for each of their jobs: its
-- events `first` to `last`, by the ids that they have here ("17,19,40"). Those after
-- `controller.indexed_event` are not entered yet; the next start does it. Ids are never given again.
CREATE TABLE kept_events (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  time INTEGER NOT NULL
) STRICT;
INSERT INTO kept_events (job, seq, kind, payload, time)
SELECT job, seq, kind, payload, time FROM job_events ORDER BY rowid;
DROP TABLE job_events;
ALTER TABLE kept_events RENAME TO job_events;
CREATE TRIGGER job_events_keep_rows BEFORE DELETE ON job_events
WHEN EXISTS (SELECT 1 FROM jobs WHERE id = old.job) BEGIN
  SELECT RAISE(ABORT, 'job_events is append-only');
END;
CREATE TRIGGER job_events_keep_content BEFORE UPDATE ON job_events BEGIN
  SELECT RAISE(ABORT, 'job_events is append-only');
END;
CREATE TABLE event_runs (
  job INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  events TEXT NOT NULL,
  PRIMARY KEY (job, first)
) STRICT, WITHOUT ROWID;
ALTER TABLE controller ADD COLUMN indexed_event INTEGER NOT NULL DEFAULT 0;
