-- SPDX-License-Identifier: Apache-2.0
-- How a task ended is a row of its own, which is added once and never changed; a task without one is
-- open. Tasks that end together lie far apart among the tasks, and each page of those that an end
-- touched was written again; their ends are neighbours.
CREATE TABLE task_ends (
  task INTEGER NOT NULL UNIQUE REFERENCES tasks,
  state INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  completed_by INTEGER NOT NULL REFERENCES keys,
  completed_token TEXT NOT NULL,
  result_fingerprint TEXT NOT NULL,
  error TEXT NOT NULL,
  seconds REAL NOT NULL
) STRICT;
INSERT INTO task_ends
SELECT id, state, attempts, completed_by, completed_token, result_fingerprint, error, seconds
FROM tasks WHERE state != 1 ORDER BY id;

CREATE TABLE kept_tasks (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs,
  trial INTEGER REFERENCES trials,
  kind INTEGER NOT NULL,
  payload BLOB NOT NULL,
  attempts INTEGER NOT NULL,
  -- Of the last attempt that failed and left the task open: a call that is repeated is known by it.
  failed_by INTEGER NOT NULL REFERENCES keys,
  failed_token TEXT NOT NULL,
  failed_fingerprint TEXT NOT NULL
) STRICT;
INSERT INTO kept_tasks
SELECT id, job, trial, kind, payload, attempts, completed_by,
  CASE state WHEN 1 THEN completed_token ELSE '' END,
  CASE state WHEN 1 THEN result_fingerprint ELSE '' END
FROM tasks ORDER BY id;
DROP TABLE tasks;
ALTER TABLE kept_tasks RENAME TO tasks;
CREATE INDEX tasks_by_job ON tasks (job);
