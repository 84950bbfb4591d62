"""The embedded PostgreSQL keeps its data, survives being killed, and recovers from what killing leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from scheduler.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresFailed, database_url_of
from scheduler.settings import InvalidSettings, Settings
from tests.support.scratch import scratch_directory


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with scratch_directory("postgres") as directory:
        (directory / "logs").mkdir()
        yield directory


def ask(postgres: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(postgres.url().replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_what_was_written_is_there_after_a_stop(data_dir: Path) -> None:
    postgres = EmbeddedPostgres.in_directory(data_dir)
    postgres.start()
    ask(postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    assert not postgres.server.running

    again = EmbeddedPostgres.in_directory(data_dir)
    again.start()
    try:
        assert ask(again, "SELECT answer FROM kept") == 42
    finally:
        again.stop()


def test_what_was_committed_survives_kill_9_of_the_server(data_dir: Path) -> None:
    postgres = EmbeddedPostgres.in_directory(data_dir)
    postgres.start()
    ask(postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.server.kill()
    assert (data_dir / "postgres" / "postmaster.pid").exists(), "a killed server leaves its lock file"
    postgres.start_again()
    try:
        assert ask(postgres, "SELECT answer FROM kept") == 42
    finally:
        postgres.stop()


def test_a_lock_file_that_names_a_living_stranger_does_not_hinder(data_dir: Path) -> None:
    """After a container restart the number in the file is often that of some other process."""
    postgres = EmbeddedPostgres.in_directory(data_dir)
    postgres.start()
    postgres.server.kill()
    pid_file = data_dir / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    postgres.start_again()
    try:
        assert ask(postgres, "SELECT 1") == 1
        os.kill(os.getppid(), 0)  # the stranger was left alone
    finally:
        postgres.stop()


def test_a_server_that_outlived_its_supervisor_is_replaced(data_dir: Path) -> None:
    left_over = EmbeddedPostgres.in_directory(data_dir)
    left_over.start()
    ours = EmbeddedPostgres.in_directory(data_dir)
    ours.start()
    try:
        assert left_over.server.wait(5)
        assert ask(ours, "SELECT 1") == 1
    finally:
        ours.stop()


def test_a_directory_too_long_for_a_socket_still_works(data_dir: Path) -> None:
    deep = data_dir / ("long-" * 30)
    (deep / "logs").mkdir(parents=True)
    postgres = EmbeddedPostgres.in_directory(deep)
    assert postgres.socket_directory != postgres.directory
    postgres.start()
    try:
        assert ask(postgres, "SELECT 1") == 1
        assert postgres.socket_directory.stat().st_mode & 0o077 == 0, "others must not reach the socket"
    finally:
        postgres.stop()
        shutil.rmtree(postgres.socket_directory)


def test_nobody_reaches_it_over_the_network(data_dir: Path) -> None:
    postgres = EmbeddedPostgres.in_directory(data_dir)
    postgres.start()
    try:
        assert ask(postgres, "SHOW listen_addresses") == ""
        assert (data_dir / "postgres").stat().st_mode & 0o077 == 0
    finally:
        postgres.stop()


def test_data_of_another_version_is_refused_with_both_versions(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresFailed, match="made by PostgreSQL 9 and this is"):
        EmbeddedPostgres.in_directory(data_dir).start()


def test_a_damaged_cluster_is_one_sentence_with_the_servers_reason(data_dir: Path) -> None:
    postgres = EmbeddedPostgres.in_directory(data_dir)
    postgres.start()
    postgres.stop()
    (data_dir / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedPostgresFailed, match="pg_control") as refused:
        postgres.start()
    assert "\n" not in str(refused.value)


def test_commands_find_the_database_of_a_running_installation(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir, database_url=None)
    with pytest.raises(InvalidSettings, match="no database is named"):
        database_url_of(settings)
    postgres = EmbeddedPostgres.in_directory(data_dir)
    postgres.start()
    try:
        assert database_url_of(settings) == postgres.url()
    finally:
        postgres.stop()


def test_stopping_takes_no_longer_for_an_open_session(data_dir: Path) -> None:
    postgres = EmbeddedPostgres.in_directory(data_dir)
    postgres.start()
    connection = psycopg.connect(postgres.url().replace("+psycopg", ""))
    connection.execute("SELECT 1")
    postgres.server.signal(signal.SIGINT)
    assert postgres.server.wait(2)
    with pytest.raises(psycopg.OperationalError, match="administrator"):
        connection.execute("SELECT 1")
    connection.close()
