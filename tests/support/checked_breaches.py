"""SQL that breaks the rules of a store, one after the other.

Each: the rule, statements that break it in the data of `checked_site` (`:NAME` stands for the id of
the job of that name), and the rules that are then broken besides.
"""

BREAKING: list[tuple[str, str, set[str]]] = [
    (
        "attempts_are_numbered",
        (
            "UPDATE attempts SET number = 2, chain = 2, revision = 9 WHERE job_id = :kept;"
            "UPDATE jobs SET newest_attempt = 2, answering_attempt = 2 WHERE job_id = :kept;"
            "UPDATE batch_rows SET attempt = 2 WHERE job_id = :kept"
        ),
        {"folder_is_of_an_attempt", "result_is_its_own"},
    ),
    (
        "newest_attempt_is_last",
        "UPDATE jobs SET newest_attempt = 1 WHERE job_id = :resubmitted",
        {"ck_jobs_answering_attempt_is_one"},
    ),
    (
        "answering_attempt_is_there",
        "UPDATE jobs SET answering_attempt = 7 WHERE job_id = :kept",
        {"ck_jobs_answering_attempt_is_one"},
    ),
    (
        "answering_attempt_is_ordinary",
        "UPDATE jobs SET answering_attempt = 1 WHERE job_id = :alone",
        set(),
    ),
    (
        "answering_attempt_is_newest",
        "UPDATE jobs SET answering_attempt = 1 WHERE job_id = :resubmitted",
        set(),
    ),
    (
        "job_has_an_answer",
        "UPDATE jobs SET answering_attempt = NULL WHERE job_id = :inline",
        set(),
    ),
    (
        "answer_has_a_record",
        (
            "DELETE FROM files WHERE file_hash = (SELECT output_hash FROM attempts"
            " WHERE job_id = :kept)"
        ),
        {"content_is_recorded"},
    ),
    (
        "job_runs_once",
        (
            "DROP INDEX uq_attempts_active;"
            "UPDATE attempts SET status = 'RUNNING', ended_at = NULL, result = NULL"
            " WHERE job_id = :resubmitted AND number = 1"
        ),
        {"index_is_there", "active_attempt_is_newest"},
    ),
    (
        "active_attempt_is_newest",
        (
            "UPDATE attempts SET status = 'PENDING', ended_at = NULL, result = NULL, owner = NULL,"
            " is_retried = 0 WHERE job_id = :retried AND number = 1"
        ),
        {"chain_is_unbroken", "row_shows_one_attempt", "row_found_what_completed"},
    ),
    (
        "chain_is_unbroken",
        "UPDATE attempts SET is_retried = 0 WHERE job_id = :retried AND number = 1",
        {"row_shows_one_attempt", "row_found_what_completed"},
    ),
    (
        "retried_has_successor",
        "UPDATE attempts SET is_retried = 1 WHERE job_id = :failed",
        {
            "answering_attempt_is_ordinary",
            "row_shows_one_attempt",
            "statistics_add_up",
        },
    ),
    (
        "retries_are_bounded",
        (
            "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 5)"
            " INSERT INTO attempts (job_id, number, status, revision, cpus, memory_bytes, gpus,"
            " timeout_seconds, chain, is_retried, owner, created_at, queued_at, queue_index,"
            " ended_at, result)"
            " SELECT job_id, n, 'FAILED', 99, 1, 0, 0, 1, 1, 1, 'x', created_at, queued_at, 0,"
            " ended_at, result FROM attempts, n WHERE job_id = :failed;"
            "UPDATE attempts SET is_retried = CASE WHEN number < 5 THEN 1 ELSE 0 END"
            " WHERE job_id = :failed;"
            "UPDATE jobs SET newest_attempt = 5, answering_attempt = 5 WHERE job_id = :failed"
        ),
        {"result_is_its_own"},
    ),
    (
        "times_are_in_order",
        "UPDATE attempts SET started_at = created_at - 6000000 WHERE job_id = :kept",
        set(),
    ),
    (
        "owner_is_known",
        (
            "INSERT INTO servers VALUES ('another', 'local/here', 0, NULL);"
            "UPDATE attempts SET owner = 'nobody' WHERE job_id = :running;"
            "DELETE FROM servers WHERE server_id <> 'another'"
        ),
        set(),
    ),
    ("owner_lives", "DELETE FROM servers", set()),
    (
        "batch_has_its_rows",
        "DELETE FROM batch_rows WHERE batch_id = 'last' AND row_index = 3",
        set(),
    ),
    (
        "staged_rows_are_there",
        "UPDATE batches SET staged_rows = 1, row_count = row_count + 1 WHERE batch_id = 'last'",
        set(),
    ),
    (
        "row_names_a_chain",
        "UPDATE batch_rows SET attempt = 2 WHERE job_id = :retried AND batch_id = 'found'",
        {"row_shows_one_attempt", "statistics_add_up"},
    ),
    (
        "row_shows_one_attempt",
        (
            "DROP INDEX uq_attempts_chain;"
            "UPDATE attempts SET is_retried = 0 WHERE job_id = :retried AND number = 1"
        ),
        {"chain_is_unbroken", "index_is_there", "row_found_what_completed"},
    ),
    (
        "row_tells_what_was_replaced",
        "UPDATE batch_rows SET old_status = 'TIMEOUT' WHERE outcome = 'RESUBMITTED'",
        set(),
    ),
    (
        "row_tells_what_was_kept",
        "UPDATE batch_rows SET old_status = 'TIMEOUT' WHERE outcome = 'FAILURE_KEPT'",
        set(),
    ),
    (
        "row_found_what_completed",
        "UPDATE batch_rows SET job_id = :failed WHERE batch_id = 'found' AND row_index = 0",
        set(),
    ),
    (
        "run_was_asked_for_once",
        "UPDATE batch_rows SET outcome = 'SUBMITTED' WHERE batch_id = 'last' AND row_index = 3",
        set(),
    ),
    (
        "row_waits_or_is_decided",
        "UPDATE batch_rows SET outcome = 'NOT_FOUND' WHERE batch_id = 'waits' AND row_index = 1",
        set(),
    ),
    (
        "row_waits_or_is_decided",
        "DELETE FROM dependencies;DELETE FROM undecided_rows",
        set(),
    ),
    (
        "row_waits_for_what_is_counted",
        "UPDATE undecided_rows SET waits_for = 2",
        set(),
    ),
    (
        "dependency_is_on_another_row",
        "UPDATE dependencies SET upstream_index = 9 WHERE position = 0",
        set(),
    ),
    (
        "dependency_is_on_another_row",
        "UPDATE dependencies SET upstream_index = 1 WHERE position = 0",
        set(),
    ),
    (
        "dependency_was_met",
        (
            "UPDATE dependencies SET is_met = 1 WHERE position = 0;"
            "UPDATE undecided_rows SET waits_for = 0"
        ),
        {"row_that_waits_goes_on"},
    ),
    (
        "dependency_was_met",
        "UPDATE dependencies SET condition = 'FAILED', input_name = '' WHERE position = 1",
        set(),
    ),
    (
        "row_that_waits_goes_on",
        (
            "UPDATE dependencies SET is_met = 0 WHERE position = 1;"
            "UPDATE undecided_rows SET waits_for = 2"
        ),
        set(),
    ),
    (
        "ck_undecided_rows_waits_for_from_0",
        "UPDATE undecided_rows SET waits_for = -1",
        {"row_waits_for_what_is_counted"},
    ),
    ("ck_undecided_rows_cpus_from_1", "UPDATE undecided_rows SET cpus = 0", set()),
    (
        "ck_undecided_rows_cache_policy_is_one",
        "UPDATE undecided_rows SET cache_policy = 'WHENEVER'",
        set(),
    ),
    (
        "ck_undecided_rows_resubmit_policy_is_one",
        "UPDATE undecided_rows SET resubmit_policy = 'WHENEVER'",
        set(),
    ),
    (
        "fk_undecided_rows_batch_id_row_index_batch_rows",
        ("UPDATE undecided_rows SET row_index = 7;UPDATE dependencies SET row_index = 7"),
        {"row_waits_or_is_decided"},
    ),
    (
        "ck_dependencies_upstream_is_a_row_or_a_job",
        "UPDATE dependencies SET upstream_attempt = 1 WHERE position = 0",
        set(),
    ),
    (
        "ck_dependencies_position_from_0",
        "UPDATE dependencies SET position = -1 WHERE position = 0",
        set(),
    ),
    (
        "ck_dependencies_condition_is_one",
        "UPDATE dependencies SET condition = 'WHENEVER' WHERE position = 0",
        set(),
    ),
    (
        "ck_dependencies_input_comes_from_success",
        "UPDATE dependencies SET input_name = 'input' WHERE position = 0",
        set(),
    ),
    (
        "ck_dependencies_is_met_or_not",
        "UPDATE dependencies SET is_met = 2 WHERE position = 1",
        set(),
    ),
    (
        "fk_dependencies_batch_id_row_index_undecided_rows",
        "UPDATE dependencies SET row_index = 7 WHERE position = 1",
        set(),
    ),
    (
        "fk_dependencies_upstream_job_id_upstream_attempt_attempts",
        "UPDATE dependencies SET upstream_attempt = 7 WHERE position = 1",
        {"dependency_was_met"},
    ),
    (
        "deletion_is_finished",
        "UPDATE files SET is_deleting = 1 WHERE filename = 'a.csv'",
        set(),
    ),
    (
        "job_id_is_its_hash",
        "UPDATE jobs SET parameters_json = '{}' WHERE job_id = :kept",
        set(),
    ),
    (
        "job_id_is_its_hash",
        "UPDATE jobs SET inputs = 'no JSON' WHERE job_id = :pending",
        set(),
    ),
    (
        "result_is_readable",
        "UPDATE attempts SET result = x'ff' WHERE job_id = :kept",
        set(),
    ),
    (
        "result_is_its_own",
        "UPDATE attempts SET output_size_bytes = 7 WHERE job_id = :inline",
        set(),
    ),
    (
        "result_is_its_own",
        (
            "UPDATE attempts SET result = (SELECT result FROM attempts WHERE job_id = :failed)"
            " WHERE job_id = :cancelled"
        ),
        set(),
    ),
    (
        "output_is_its_hash",
        (
            "UPDATE attempts SET result = CAST(replace(result, 'an output', 'xx output') AS BLOB)"
            " WHERE job_id = :inline"
        ),
        set(),
    ),
    (
        "output_is_its_hash",
        "UPDATE attempts SET output_is_inline = 0 WHERE job_id = :alone",
        set(),
    ),
    (
        "statistics_add_up",
        "UPDATE batch_rows SET outcome = 'WITHHELD' WHERE batch_id = 'found' AND row_index = 0",
        {"ck_batch_rows_attempt_or_none", "ck_batch_rows_ended_by_itself_or_not"},
    ),
    (
        "batch_tally_is_right",
        "UPDATE batches SET ended_at = 1, tally = '{\"rows\":[]}' WHERE batch_id = 'found'",
        set(),
    ),
    (
        "batch_tally_is_right",
        "UPDATE batches SET ended_at = 1, tally = 'all done' WHERE batch_id = 'found'",
        set(),
    ),
    (
        "ck_batches_tally_when_ended",
        "UPDATE batches SET ended_at = 1 WHERE batch_id = 'found'",
        set(),
    ),
    (
        "ck_batches_priority_within_bounds",
        "UPDATE batches SET priority = 101 WHERE batch_id = 'found'",
        set(),
    ),
    (
        "ck_batches_staged_rows_are_of_the_batch",
        "UPDATE batches SET staged_rows = -1 WHERE batch_id = 'found'",
        {"batch_has_its_rows"},
    ),
    (
        "ck_staged_pieces_row_count_from_1",
        "INSERT INTO staged_pieces SELECT 'b', 0, 0, 'nobody', head FROM batch_rows LIMIT 1",
        set(),
    ),
    (
        "ck_staged_pieces_piece_number_from_0",
        "INSERT INTO staged_pieces SELECT 'b', -1, 1, 'nobody', head FROM batch_rows LIMIT 1",
        set(),
    ),
    (
        "ck_batches_max_failures_from_0",
        "UPDATE batches SET max_failures = -1 WHERE batch_id = 'found'",
        set(),
    ),
    (
        "ck_batches_request_hash_when_named",
        "UPDATE batches SET request_id = 'x' WHERE batch_id = 'found'",
        set(),
    ),
    (
        "ck_batch_rows_priority_within_bounds",
        "UPDATE batch_rows SET priority = -101 WHERE batch_id = 'found'",
        set(),
    ),
    (
        "ck_batch_rows_ended_by_itself_or_not",
        "UPDATE batch_rows SET ended_at = 1 WHERE batch_id = 'found'",
        set(),
    ),
    (
        "ck_attempts_ended_when_terminal",
        "UPDATE attempts SET status = 'FINISHED' WHERE job_id = :failed",
        {"statistics_add_up", "row_tells_what_was_kept", "result_is_its_own"},
    ),
    (
        "ck_attempts_result_when_ended",
        "UPDATE attempts SET result = NULL WHERE job_id = :inline",
        set(),
    ),
    (
        "ck_attempts_number_from_1",
        "UPDATE attempts SET number = 0 WHERE job_id = :cancelled",
        {
            "attempts_are_numbered",
            "newest_attempt_is_last",
            "answering_attempt_is_there",
            "fk_batch_rows_job_id_attempt_attempts",
            "ck_attempts_chain_began_before",
            "result_is_its_own",
        },
    ),
    (
        "ck_attempts_revision_rises",
        "UPDATE attempts SET revision = 0 WHERE job_id = :kept",
        set(),
    ),
    ("ck_attempts_cpus_from_1", "UPDATE attempts SET cpus = 0 WHERE job_id = :kept", set()),
    (
        "ck_attempts_replaced_what_failed",
        "UPDATE attempts SET replaced = 'FAILED' WHERE job_id = :alone",
        {"row_tells_what_was_replaced"},
    ),
    (
        "ck_attempts_is_bypass_or_not",
        "UPDATE attempts SET is_bypass = 2 WHERE job_id = :alone",
        set(),
    ),
    (
        "ck_attempts_owner_when_claimed",
        "UPDATE attempts SET owner = NULL WHERE job_id = :running",
        set(),
    ),
    (
        "ck_attempts_chain_began_before",
        "UPDATE attempts SET chain = 2 WHERE job_id = :alone",
        {"row_names_a_chain", "row_shows_one_attempt", "statistics_add_up"},
    ),
    (
        "ck_attempts_is_retried_when_failed",
        "UPDATE attempts SET is_retried = 2 WHERE job_id = :alone",
        {"row_shows_one_attempt", "statistics_add_up"},
    ),
    (
        "ck_attempts_output_is_inline_or_not",
        "UPDATE attempts SET output_is_inline = 2 WHERE job_id = :alone",
        {"output_is_its_hash"},
    ),
    (
        "ck_attempts_usage_from_0",
        "UPDATE attempts SET cpu_milliseconds = 5, queue_milliseconds = -1 WHERE job_id = :kept",
        set(),
    ),
    (
        "ck_attempts_packed_with_others_or_not",
        "UPDATE attempts SET packed_by = 'DECLARED' WHERE job_id = :kept",
        set(),
    ),
    (
        "ck_jobs_newest_attempt_from_1",
        "UPDATE jobs SET newest_attempt = 0 WHERE job_id = :alone",
        {"newest_attempt_is_last", "ck_jobs_counted_from_is_an_attempt"},
    ),
    (
        "ck_jobs_counted_from_is_an_attempt",
        "UPDATE jobs SET counted_from = 5 WHERE job_id = :alone",
        set(),
    ),
    (
        "ck_jobs_answering_attempt_is_one",
        "UPDATE jobs SET answering_attempt = 0 WHERE job_id = :kept",
        {"answering_attempt_is_there"},
    ),
    (
        "ck_jobs_job_id_is_a_hash",
        (
            "UPDATE jobs SET job_id = 'x' WHERE job_id = :pending;"
            "UPDATE attempts SET job_id = 'x' WHERE job_id = :pending;"
            "UPDATE batch_rows SET job_id = 'x' WHERE job_id = :pending"
        ),
        {"job_id_is_its_hash"},
    ),
    (
        "ck_servers_server_id_is_one",
        "INSERT INTO servers VALUES ('', '', 0, NULL)",
        set(),
    ),
    (
        "ck_files_file_hash_is_a_hash",
        "UPDATE files SET file_hash = 'x' WHERE filename = 'a.csv'",
        {"content_is_there", "content_is_recorded"},
    ),
    (
        "ck_files_is_deleting_or_not",
        "UPDATE files SET is_deleting = 2 WHERE filename = 'a.csv'",
        set(),
    ),
    (
        "ck_batch_rows_attempt_or_none",
        "UPDATE batch_rows SET rejection = head WHERE batch_id = 'unknown'",
        set(),
    ),
    (
        "ck_batch_rows_old_status_when_replaced_or_kept",
        "UPDATE batch_rows SET old_status = 'COMPLETED' WHERE outcome = 'NOT_FOUND'",
        set(),
    ),
    (
        "ck_batch_rows_kept_when_a_failure_is_kept",
        "UPDATE batch_rows SET kept = NULL WHERE outcome = 'FAILURE_KEPT'",
        set(),
    ),
    (
        "ck_deployment_is_only_one",
        "INSERT INTO deployment VALUES (2, '0123456789abcdef0123456789abcdef')",
        set(),
    ),
    (
        "ck_deployment_deployment_id_is_one",
        "UPDATE deployment SET deployment_id = 'mine'",
        {"folder_is_of_the_store"},
    ),
    (
        "fk_attempts_job_id_jobs",
        "DELETE FROM jobs WHERE job_id = :alone",
        set(),
    ),
    (
        "fk_batch_rows_batch_id_batches",
        "DELETE FROM batches WHERE batch_id = 'unknown'",
        set(),
    ),
    (
        "fk_batch_rows_job_id_attempt_attempts",
        "DELETE FROM attempts WHERE job_id = :alone; DELETE FROM jobs WHERE job_id = :alone",
        {"statistics_add_up", "folder_is_of_an_attempt"},
    ),
    ("index_is_there", "DROP INDEX ix_files_used", set()),
    (
        "index_is_there",
        "DROP INDEX ix_files_used; CREATE INDEX ix_files_used ON files (file_hash)",
        set(),
    ),
    (
        "constraint_is_there",
        (
            "CREATE TABLE copy (server_id TEXT PRIMARY KEY, scope TEXT, joined_at BIGINT,"
            " lease_expires_at BIGINT); INSERT INTO copy SELECT * FROM servers; DROP TABLE servers;"
            "ALTER TABLE copy RENAME TO servers"
        ),
        set(),
    ),
    (
        "database_is_whole",
        (
            "PRAGMA writable_schema = ON; UPDATE sqlite_master SET"
            " sql = replace(sql, 'is_deleting = 1', 'is_deleting = 0')"
            " WHERE name = 'ix_files_deleting'"
        ),
        set(),
    ),
    (
        "store_is_readable",
        "UPDATE jobs SET parameters_json = CAST(x'ff' AS TEXT) WHERE job_id = :kept",
        set(),
    ),
    (
        "table_is_there",
        "ALTER TABLE batches RENAME COLUMN display_name TO shown_name",
        set(),
    ),
    (
        "table_is_there",
        "DROP TABLE files",
        {"store_is_readable"},
    ),
    (
        "table_is_there",
        "ALTER TABLE attempts RENAME COLUMN chain TO chained",
        {"store_is_readable", "index_is_there"},
    ),
]
