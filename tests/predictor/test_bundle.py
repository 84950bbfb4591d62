"""A bundle is whole or refused, and says the same wherever it was read."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.bundle import MANIFEST, Bundle, from_blob, load_bundle, read_files, save_bundle, to_blob
from predictor.errors import InvalidBundle, NotEnoughData
from predictor.model import Predictor
from predictor.training import train
from tests.predictor.observations import invented_world, observe, raw_custom, raw_training


@cache
def made() -> Bundle:
    return train(invented_world(), seed=7, created="2026-01-02", git_revision="abc", base=None)


def test_a_bundle_survives_the_disk_and_the_database(tmp_path: Path) -> None:
    save_bundle(made(), tmp_path)
    for read in (load_bundle(tmp_path), from_blob(to_blob(made()))):
        assert read.files == made().files
        questions = [seen.question for seen in invented_world()[:20]]
        assert Predictor(read).forecast(questions) == Predictor(made()).forecast(questions)


def test_equal_data_and_seed_give_an_equal_bundle() -> None:
    again = train(invented_world(), seed=7, created="2026-01-02", git_revision="abc", base=None)
    assert to_blob(again) == to_blob(made())


def test_the_manifest_says_what_it_was_made_of() -> None:
    manifest = made().manifest
    assert manifest.version.startswith("2026-01-02.")
    assert {source.name for source in manifest.sources} == {"lab0", "lab1", "lab2", "lab3"}
    assert sum(source.rows for source in manifest.sources) == manifest.observations == len(invented_world())
    assert (manifest.git_revision, manifest.seed) == ("abc", 7)


@settings(max_examples=40)
@given(data=st.data())
def test_any_damaged_file_is_refused(data: st.DataObject) -> None:
    files = dict(made().files)
    name = data.draw(st.sampled_from(sorted(files)))
    place = data.draw(st.integers(0, len(files[name]) - 1))
    flipped = bytes([files[name][place] ^ data.draw(st.integers(1, 255))])
    files[name] = files[name][:place] + flipped + files[name][place + 1 :]
    if name == MANIFEST:
        # some words of the manifest are for people only; whatever it still says, the content must be the same
        try:
            read = read_files(files)
        except InvalidBundle:
            return
        assert {k: v for k, v in read.files.items() if k != MANIFEST} == {
            k: v for k, v in made().files.items() if k != MANIFEST
        }
        return
    with pytest.raises(InvalidBundle, match="damaged"):
        read_files(files)


def test_a_missing_file_is_refused() -> None:
    for name in made().files:
        with pytest.raises(InvalidBundle):
            read_files({other: content for other, content in made().files.items() if other != name})


def test_a_bundle_of_another_format_is_refused() -> None:
    manifest = json.loads(made().files[MANIFEST]) | {"format": 99}
    with pytest.raises(InvalidBundle, match="format 99"):
        read_files(dict(made().files) | {MANIFEST: json.dumps(manifest).encode()})


def test_a_bundle_of_other_features_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from predictor import features  # noqa: PLC0415

    monkeypatch.setattr(features.FeatureTable, "hash", "other")
    with pytest.raises(InvalidBundle, match="other features"):
        read_files(made().files)


@pytest.mark.parametrize("blob", [b"", b"PK\x03\x04", b"nonsense"])
def test_a_blob_that_is_no_bundle_is_refused(blob: bytes) -> None:
    with pytest.raises(InvalidBundle):
        from_blob(blob)


def test_a_truncated_blob_is_refused() -> None:
    blob = to_blob(made())
    with pytest.raises(InvalidBundle):
        from_blob(blob[: len(blob) // 2])


def test_a_folder_without_a_bundle_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundle, match="holds no bundle"):
        load_bundle(tmp_path)


def test_a_base_fills_in_what_the_data_say_too_little_about() -> None:
    jobs = [observe(raw_custom(float(row), row=row)) for row in range(5, 15)]
    grown = train(jobs, seed=1, created="2026-02-03", git_revision="abc", base=made())
    assert set(grown.corrections) == set(made().corrections)
    assert set(grown.kinds) == {"fit"}


def test_too_little_data_is_a_sentence() -> None:
    with pytest.raises(NotEnoughData, match="teach nothing yet"):
        train([observe(raw_training())], seed=1, created="2026-01-02", git_revision="abc", base=None)
