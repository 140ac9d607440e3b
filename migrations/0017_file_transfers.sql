-- What steps that move files have come to. A server of the version before writes nothing here and reads nothing.

CREATE TABLE job_run_step_transfers (
  job_run_step_id bigint NOT NULL REFERENCES job_run_steps ON DELETE CASCADE,
  epoch           integer NOT NULL,
  totals          jsonb NOT NULL,
  PRIMARY KEY (job_run_step_id, epoch)
);
COMMENT ON TABLE job_run_step_transfers IS 'Of each attempt that moved files: how many, and how many bytes.';
COMMENT ON COLUMN job_run_step_transfers.totals IS 'TransferTotals of the protocol: counts of all files, also of those that have no row.';

CREATE TABLE sftp_file_transfers (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_run_step_id   bigint NOT NULL REFERENCES job_run_steps ON DELETE CASCADE,
  epoch             integer NOT NULL,
  number            integer NOT NULL,
  operation_type    varchar(20) NOT NULL CHECK (operation_type IN ('upload', 'download', 'delete', 'link')),
  names             bytea NOT NULL,
  file_size         bigint,
  bytes_transferred bigint NOT NULL DEFAULT 0,
  transfer_rate_bps bigint,
  status            varchar(20) NOT NULL CHECK (status IN ('completed', 'failed', 'planned')),
  started_at        timestamptz,
  completed_at      timestamptz,
  created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (job_run_step_id, epoch, number)
);
COMMENT ON TABLE sftp_file_transfers IS 'Files of an attempt, one by one: those that failed first, and no more than a bound; the totals count all.';
COMMENT ON COLUMN sftp_file_transfers.names IS 'JSON of local path, remote path and error message, under the run''s data key: they come from the sealed definition.';
COMMENT ON COLUMN sftp_file_transfers.transfer_rate_bps IS 'Bytes a second; null where it took no time that could be told.';
