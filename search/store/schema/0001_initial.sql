-- SPDX-License-Identifier: Apache-2.0
-- The first schema; docs/store.md explains each table. A released file here is never edited: a change
-- is the next numbered file. Times are nanoseconds since 1970 (UTC). Enumerations are the numbers of
-- result_store.h. A key that there is none of is the empty text.

-- One row: which life of the controller this is.
CREATE TABLE controller (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL
) STRICT;
INSERT INTO controller (id, epoch) VALUES (1, 0);

-- Hashes, names and labels that many rows repeat.
CREATE TABLE keys (
  id INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
) STRICT;

-- Under what a number was taken; all but batch are keys.
CREATE TABLE conditions (
  id INTEGER PRIMARY KEY,
  device INTEGER NOT NULL REFERENCES keys,
  device_class INTEGER NOT NULL REFERENCES keys,
  device_fingerprint INTEGER NOT NULL REFERENCES keys,
  profile INTEGER NOT NULL REFERENCES keys,
  dataset INTEGER NOT NULL REFERENCES keys,
  split INTEGER NOT NULL REFERENCES keys,
  recipe INTEGER NOT NULL REFERENCES keys,
  batch INTEGER NOT NULL,
  UNIQUE (device, device_class, device_fingerprint, profile, dataset, split, recipe, batch)
) STRICT;

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  request_id TEXT UNIQUE,
  spec BLOB NOT NULL,
  supernet INTEGER NOT NULL REFERENCES keys,
  state INTEGER NOT NULL,
  error TEXT NOT NULL,
  history_snapshot INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  update_time INTEGER NOT NULL,
  end_time INTEGER
) STRICT;

CREATE TABLE trials (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs,
  ordinal INTEGER NOT NULL,
  search_space INTEGER NOT NULL REFERENCES keys,
  revision INTEGER NOT NULL,
  choices TEXT NOT NULL,
  arch INTEGER NOT NULL REFERENCES keys,
  graph INTEGER NOT NULL REFERENCES keys,
  artifact INTEGER NOT NULL REFERENCES keys,
  state INTEGER NOT NULL,
  error TEXT NOT NULL,
  reused INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  end_time INTEGER,
  UNIQUE (job, ordinal)
) STRICT;

CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES jobs,
  trial INTEGER REFERENCES trials,
  kind INTEGER NOT NULL,
  payload BLOB NOT NULL,
  state INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  completed_by INTEGER NOT NULL REFERENCES keys,
  completed_token TEXT NOT NULL,
  result_fingerprint TEXT NOT NULL,
  error TEXT NOT NULL
) STRICT;
CREATE INDEX tasks_by_job ON tasks (job);

CREATE TABLE measurements (
  id INTEGER PRIMARY KEY,
  job INTEGER REFERENCES jobs,
  trial INTEGER REFERENCES trials,
  task INTEGER REFERENCES tasks,
  subject INTEGER NOT NULL REFERENCES keys,
  metric INTEGER NOT NULL REFERENCES keys,
  condition INTEGER NOT NULL REFERENCES conditions,
  value REAL NOT NULL,
  low REAL NOT NULL,
  high REAL NOT NULL,
  interval_kind INTEGER NOT NULL REFERENCES keys,
  sample_count INTEGER NOT NULL,
  verdict INTEGER NOT NULL,
  reasons TEXT NOT NULL,
  fidelity INTEGER NOT NULL,
  worker INTEGER NOT NULL REFERENCES keys,
  worker_build INTEGER NOT NULL REFERENCES keys,
  lease_token TEXT NOT NULL,
  time INTEGER NOT NULL,
  retracted_by TEXT NOT NULL
) STRICT;
-- A task yields a metric under a condition once: no result is stored twice.
CREATE UNIQUE INDEX measurements_by_task ON measurements (task, metric, condition)
  WHERE task IS NOT NULL;

-- What a latency was computed from.
CREATE TABLE latencies (
  measurement INTEGER PRIMARY KEY REFERENCES measurements,
  ratio REAL NOT NULL,
  raw_median_ms REAL NOT NULL,
  reference_median_ms REAL NOT NULL,
  baseline_reference_ms REAL NOT NULL,
  baseline INTEGER NOT NULL REFERENCES keys
) STRICT;

-- Compressed: see evidence_codec.h.
CREATE TABLE evidence (
  measurement INTEGER PRIMARY KEY REFERENCES measurements,
  samples BLOB NOT NULL,
  reference_samples BLOB NOT NULL,
  top1_bitmap BLOB NOT NULL,
  environment BLOB NOT NULL
) STRICT;

CREATE TABLE artifacts (
  hash INTEGER PRIMARY KEY REFERENCES keys,
  size_bytes INTEGER NOT NULL,
  create_time INTEGER NOT NULL
) STRICT;

CREATE TABLE supernets (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  hash INTEGER NOT NULL REFERENCES keys,
  spec TEXT NOT NULL,
  dataset INTEGER NOT NULL REFERENCES keys,
  create_time INTEGER NOT NULL,
  UNIQUE (id, hash)
) STRICT;

CREATE TABLE exports (
  supernet INTEGER NOT NULL REFERENCES keys,
  arch INTEGER NOT NULL REFERENCES keys,
  recipe INTEGER NOT NULL REFERENCES keys,
  calibration INTEGER NOT NULL REFERENCES keys,
  artifact INTEGER NOT NULL REFERENCES keys,
  size_bytes INTEGER NOT NULL,
  PRIMARY KEY (supernet, arch, recipe, calibration)
) STRICT, WITHOUT ROWID;

CREATE TABLE baselines (
  id INTEGER PRIMARY KEY REFERENCES keys,
  device INTEGER NOT NULL REFERENCES keys,
  device_fingerprint INTEGER NOT NULL REFERENCES keys,
  profile INTEGER NOT NULL REFERENCES keys,
  reference INTEGER NOT NULL REFERENCES keys,
  reference_ms REAL NOT NULL,
  create_time INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
  id INTEGER PRIMARY KEY REFERENCES keys,
  device_class TEXT NOT NULL,
  description TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  properties TEXT NOT NULL
) STRICT;

CREATE TABLE job_events (
  job INTEGER NOT NULL REFERENCES jobs,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  time INTEGER NOT NULL,
  PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER job_events_keep_rows BEFORE DELETE ON job_events BEGIN
  SELECT RAISE(ABORT, 'job_events is append-only');
END;
CREATE TRIGGER job_events_keep_content BEFORE UPDATE ON job_events BEGIN
  SELECT RAISE(ABORT, 'job_events is append-only');
END;
