"""Files come in and go out whole, over connections that break, or not at all and with the reason."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.store import BUCKET, Store, serve_store
from workers.staging import download, upload
from workers.staging.inside import Inside
from workers.staging.plan import Access, FilesPlan, Transfer
from workers.staging.problems import StagingFailed
from workers.staging.store import make_client
from workers.staging.transfers import bring_in, take_out

MIB = 2**20


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty bucket."""
    for module in (download, upload):
        monkeypatch.setattr(module, "PAUSE_S", 0.0)
    with serve_store() as store:
        yield store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a command runs."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def fetch(store: Store, root: Path, *lines: Transfer, most_bytes: int = 10**9) -> list[str]:
    plan = FilesPlan(inputs=lines, outputs=(), most_bytes=most_bytes)
    return bring_in(make_client(store.access), Inside(root), plan)


def keep(store: Store, root: Path, *lines: Transfer, most_bytes: int = 10**9, client: Any = None) -> int:
    plan = FilesPlan(inputs=(), outputs=lines, most_bytes=most_bytes)
    return take_out(client or make_client(store.access), Inside(root), plan, all_expected=True)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def in_line(source: str, to: str, sha256: str | None = None) -> Transfer:
    return Transfer(source=f"s3://{BUCKET}/{source}", to=to, sha256=sha256)


def out_line(source: str, to: str) -> Transfer:
    return Transfer(source=source, to=f"s3://{BUCKET}/{to}")


def test_a_file_and_a_folder_come_in(store: Store, root: Path) -> None:
    store.put("a/one.bin", b"1")
    store.put("set/x.txt", b"x", ChecksumAlgorithm="SHA256")
    store.put("set/deep/y.txt", b"y", ChecksumAlgorithm="CRC32")
    store.put("set/empty", b"")
    store.put("set/deep/", b"")
    written = fetch(store, root, in_line("a/one.bin", "in/"), in_line("a/one.bin", "two.bin"), in_line("set/", "data"))
    assert sorted(written) == ["data/deep/y.txt", "data/empty", "data/x.txt", "in/one.bin", "two.bin"]
    content = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert content == {
        "in/one.bin": b"1", "two.bin": b"1", "data/x.txt": b"x", "data/deep/y.txt": b"y", "data/empty": b"",
    }  # fmt: skip


def test_a_download_that_breaks_goes_on_where_it_was(store: Store, root: Path) -> None:
    data = noise(5 * MIB)
    store.put("big", data)
    store.line.cut_answers_after = [2 * MIB, 1000, MIB]
    fetch(store, root, in_line("big", "big", hashlib.sha256(data).hexdigest()))
    assert (root / "big").read_bytes() == data
    asked = [head for head in store.line.requests if head.startswith(b"GET")]
    begins = [int(re.search(rb"[Rr]ange: bytes=(\d+)-", head).group(1)) for head in asked]  # type: ignore[union-attr]
    assert begins[0] == 0
    assert begins == sorted(begins)
    assert begins[1] > MIB
    assert len(begins) == 4
    assert all(b"If-Match" in head for head in asked)


def test_a_file_that_is_replaced_meanwhile_comes_as_one_of_the_two(store: Store, root: Path) -> None:
    other = noise(3 * MIB, seed=2)
    store.put("big", noise(3 * MIB))
    store.line.cut_answers_after = [MIB]
    store.line.on_cut = lambda: store.put("big", other)
    fetch(store, root, in_line("big", "big"))
    assert (root / "big").read_bytes() == other


def test_a_store_that_never_recovers_is_given_up_and_may_recover(store: Store, root: Path) -> None:
    store.put("big", noise(MIB))
    store.line.cut_answers_after = [0] * 200
    with pytest.raises(StagingFailed, match=r"s3://files/big: the store cannot be reached") as failed:
        fetch(store, root, in_line("big", "big"))
    assert failed.value.may_pass
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (in_line("nothing", "x"), "s3://files/nothing: there is no such file"),
        (in_line("nothing/", "x"), "s3://files/nothing/: there is no file below it"),
        (Transfer(source="s3://no-such-bucket/x/", to="x"), "s3://no-such-bucket/x/: there is no such bucket"),
        (in_line("there", "x", "0" * 64), "s3://files/there: its SHA-256 is"),
        (in_line("there", "../x"), "s3://files/there: '../x' does not lead to a file below the working directory"),
        (in_line("there", "away/x"), "leads through away, which is no folder"),
        (in_line("there", "file/x"), "leads through file, which is no folder"),
    ],
)
def test_an_input_that_cannot_come_is_named(store: Store, root: Path, line: Transfer, reason: str) -> None:
    store.put("there", b"there")
    (root / "away").symlink_to(root.parent)
    (root / "file").write_text("a file")
    with pytest.raises(StagingFailed, match=re.escape(reason)) as failed:
        fetch(store, root, line)
    assert not failed.value.may_pass
    assert {path.name for path in root.parent.iterdir()} == {"work"}
    assert {path.name for path in root.iterdir()} == {"away", "file"}


def test_keys_that_lead_out_are_no_way_out(store: Store, root: Path) -> None:
    class Hostile:
        """A store whose listing holds what no bucket should."""

        def get_paginator(self, _: str) -> Any:
            return self

        def paginate(self, **_: str) -> list[dict[str, Any]]:
            return [{"Contents": [{"Key": "set/../../../evil", "Size": 1}]}]

    plan = FilesPlan(inputs=(in_line("set/", "data"),), outputs=(), most_bytes=10)
    with pytest.raises(StagingFailed, match="does not lead to a file below"):
        bring_in(Hostile(), Inside(root), plan)


def test_more_than_is_allowed_does_not_begin_to_come(store: Store, root: Path) -> None:
    store.put("set/a", b"a" * 600)
    store.put("set/b", b"b" * 600)
    with pytest.raises(StagingFailed, match="larger than the 1,000 bytes allowed"):
        fetch(store, root, in_line("set/", "data"), most_bytes=1000)
    assert list(root.iterdir()) == []


def test_files_folders_and_patterns_go_out(store: Store, root: Path) -> None:
    for name in ("result.json", "ckpt/1/a.pt", "ckpt/2/b.pt", "logs/x.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "logs" / "passwd").symlink_to("/etc/passwd")
    count = keep(
        store, root, out_line("result.json", "run/7.json"), out_line("ckpt", "run/ckpt"),
        out_line("logs/*", "run/logs/"), out_line("result.json", "copy/"), out_line("**/b.pt", ""),
    )  # fmt: skip
    assert count == 6
    assert store.keys() == [
        "ckpt/2/b.pt", "copy/result.json", "run/7.json", "run/ckpt/1/a.pt", "run/ckpt/2/b.pt", "run/logs/x.txt",
    ]  # fmt: skip
    assert store.get("run/ckpt/2/b.pt") == b"ckpt/2/b.pt"


def test_an_upload_that_breaks_sends_only_the_broken_part_again(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", 5 * MIB)
    data = noise(12 * MIB)
    (root / "big").write_bytes(data)
    store.line.of = rb"PUT /files/big\?.*partNumber=2"
    store.line.cut_requests_after = [2 * MIB]
    keep(store, root, out_line("big", "big"))
    assert store.get("big") == data
    parts = [re.search(rb"partNumber=(\d)", head) for head in store.line.requests if head.startswith(b"PUT")]
    assert [part.group(1) for part in parts if part] == [b"1", b"2", b"2", b"3"]


def test_an_upload_that_fails_leaves_no_parts_behind(store: Store, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", 5 * MIB)
    (root / "big").write_bytes(noise(12 * MIB))
    (root / "small").write_bytes(b"small")
    client = make_client(store.access)

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "UploadPart")

    monkeypatch.setattr(client, "upload_part", refuse)
    with pytest.raises(StagingFailed, match="s3://files/big: the store refuses access with these keys"):
        keep(store, root, out_line("big", "big"), out_line("small", "small"), client=client)
    assert "Uploads" not in store.client.list_multipart_uploads(Bucket=BUCKET)
    assert store.keys() == ["small"]  # what can be kept is


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (out_line("nothing/*", "x/"), "nothing/*: the command left no such file"),
        (Transfer(source="there", to="s3://no-such-bucket/x"), "s3://no-such-bucket/x: there is no such bucket"),
        (out_line("large", "x"), "large: with it the outputs exceed the 1,000 bytes allowed"),
    ],
)
def test_an_output_that_cannot_be_kept_is_named(store: Store, root: Path, line: Transfer, reason: str) -> None:
    (root / "there").write_text("there")
    (root / "large").write_bytes(b"x" * 1001)
    with pytest.raises(StagingFailed, match=re.escape(reason)):
        keep(store, root, line, most_bytes=1000)


def test_keys_to_the_store_are_in_no_word_of_ours() -> None:
    access = Access(access_key_id="AKIA1", secret_access_key="hunter2", endpoint_url="http://store")
    assert "hunter2" not in repr(access) + str(access)


@pytest.mark.parametrize(
    "where", [{"endpoint_url": "store.example.com"}, {"endpoint_url": "http://["}, {"region": "no such region"}]
)
def test_an_address_that_is_none_is_said_to_be(where: dict[str, str]) -> None:
    with pytest.raises(StagingFailed, match="no address of a store") as refused:
        make_client(Access(access_key_id="a", secret_access_key="b", **where))
    assert not refused.value.may_pass
