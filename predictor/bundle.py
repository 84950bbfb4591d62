"""A fitted predictor as files: LightGBM text and JSON under a manifest, never a pickle.

The manifest carries the hash of every other file and a digest of all of them, so a bundle is either
whole or refused. The same files in a zip are one value, for a database that keeps versions.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from predictor.custom.kinds import KindModel
from predictor.errors import InvalidBundle
from predictor.facts import datasets_dir
from predictor.features import Task
from predictor.learned.correction import Correction
from predictor.site.residual import Site

FORMAT = 1
MANIFEST = "manifest.json"
_LARGEST = 64 * 2**20  # bytes; a shipped bundle is a tenth of it, and a zip may claim to be anything
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip entries carry a time; equal bundles must be equal bytes


class Source(BaseModel):
    """Where training rows came from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    licence: str
    rows: int


class Manifest(BaseModel):
    """What a bundle is and what it was made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    version: str
    """Date of the training and the beginning of the digest."""
    created: str
    git_revision: str
    seed: int
    observations: int
    sources: tuple[Source, ...]
    tasks: tuple[Task, ...]
    kinds: tuple[str, ...]
    metrics: dict[str, Any]
    """Errors and coverage on held-out groups, by task and grouping."""
    files: dict[str, str]
    """SHA-256 of every other file."""
    site_tasks: tuple[Task, ...] = ()
    """Tasks that the jobs of a site correct on top of what was learned elsewhere."""
    base: str | None = None
    """The version that was learned elsewhere, where a site was learned on top of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All that was learned; what is absent rests on arithmetic."""

    manifest: Manifest
    corrections: Mapping[Task, Correction]
    kinds: Mapping[str, KindModel]
    sites: Mapping[Task, Site]
    files: Mapping[str, bytes]
    """The same as files, the manifest among them."""

    @property
    def version(self) -> str:
        """Names the bundle in every forecast made with it."""
        return self.manifest.version


def make_bundle(
    corrections: Mapping[Task, Correction],
    kinds: Mapping[str, KindModel],
    *,
    created: str,
    git_revision: str,
    seed: int,
    observations: int,
    sources: tuple[Source, ...],
    metrics: dict[str, Any],
    sites: Mapping[Task, Site] | None = None,
    base: str | None = None,
) -> Bundle:
    """Write what was learned as files; `created` is a date such as 2026-11-26."""
    sites = sites or {}
    files: dict[str, bytes] = {}
    for task, correction in corrections.items():
        files[f"{task}-habits.txt"] = correction.habits.text.encode()
        files[f"{task}-particulars.txt"] = correction.particulars.text.encode()
        files[f"{task}-spread.txt"] = correction.spread.text.encode()
        files[f"{task}.json"] = _json(correction.to_json())
    for kind, model in kinds.items():
        files[f"{_kind_stem(kind)}.txt"] = model.text.encode()
        files[f"{_kind_stem(kind)}.json"] = _json(model.to_json())
    for task, site in sites.items():
        files[f"{task}-site.json"] = _json(site.to_json())
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = Manifest(
        format=FORMAT,
        version=f"{created}.{_digest(hashes)[:8]}",
        created=created,
        git_revision=git_revision,
        seed=seed,
        observations=observations,
        sources=sources,
        tasks=tuple(sorted(corrections)),
        kinds=tuple(sorted(kinds)),
        metrics=metrics,
        files=hashes,
        site_tasks=tuple(sorted(sites)),
        base=base,
    )
    files[MANIFEST] = json.dumps(manifest.model_dump(mode="json"), indent=1).encode()
    # read back what was written: a forecast must not differ between the process that trained and the next one
    return read_files(files)


def read_files(files: Mapping[str, bytes]) -> Bundle:
    """The bundle that these files are; InvalidBundle if one is damaged, missing or made for other features."""
    if MANIFEST not in files:
        raise InvalidBundle(f"the bundle has no {MANIFEST}")
    try:
        manifest = Manifest.model_validate_json(files[MANIFEST])
    except ValidationError as error:
        raise InvalidBundle(f"the bundle's {MANIFEST} is unreadable ({error.error_count()} errors)") from None
    if manifest.format != FORMAT:
        raise InvalidBundle(f"the bundle has format {manifest.format}, this version of Pythia reads {FORMAT}")
    for name, expected in manifest.files.items():
        if name not in files:
            raise InvalidBundle(f"the bundle's {name} is missing")
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise InvalidBundle(f"the bundle's {name} is damaged: its hash is not the manifest's")
    if manifest.version != f"{manifest.created}.{_digest(manifest.files)[:8]}":
        raise InvalidBundle("the bundle's manifest is damaged: its version does not match its files")
    return Bundle(
        manifest=manifest,
        corrections={task: _correction(task, files, manifest) for task in manifest.tasks},
        kinds={kind: _kind(kind, files, manifest) for kind in manifest.kinds},
        sites={task: Site.from_json(_object(f"{task}-site.json", files, manifest)) for task in manifest.site_tasks},
        files={name: files[name] for name in (MANIFEST, *manifest.files)},
    )


def load_bundle(folder: Path | None = None) -> Bundle:
    """The bundle in a folder, by default the one that ships with Pythia."""
    folder = folder or datasets_dir() / "bundle"
    if not (folder / MANIFEST).is_file():
        raise InvalidBundle(f"{folder} holds no bundle: it has no {MANIFEST}")
    try:
        return read_files({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    except OSError as error:
        raise InvalidBundle(f"{folder} cannot be read ({error})") from None


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write the bundle's files; the manifest last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*(name for name in bundle.files if name != MANIFEST), MANIFEST):
        (folder / name).write_bytes(bundle.files[name])


def to_blob(bundle: Bundle) -> bytes:
    """The bundle as one zip; equal bundles give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(bundle.files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), bundle.files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def from_blob(blob: bytes) -> Bundle:
    """The bundle that `to_blob` packed."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                raise InvalidBundle(f"the bundle unpacks to more than {_LARGEST // 2**20} MiB")
            return read_files({entry.filename: archive.read(entry) for entry in archive.infolist()})
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidBundle(f"the bundle is no readable zip ({error})") from None


def _correction(task: Task, files: Mapping[str, bytes], manifest: Manifest) -> Correction:
    return Correction.from_json(
        _object(f"{task}.json", files, manifest),
        _text(f"{task}-habits.txt", files, manifest),
        _text(f"{task}-particulars.txt", files, manifest),
        _text(f"{task}-spread.txt", files, manifest),
    )


def _kind(kind: str, files: Mapping[str, bytes], manifest: Manifest) -> KindModel:
    stem = _kind_stem(kind)
    return KindModel.from_json(_object(f"{stem}.json", files, manifest), _text(f"{stem}.txt", files, manifest))


def _text(name: str, files: Mapping[str, bytes], manifest: Manifest) -> str:
    if name not in manifest.files:
        raise InvalidBundle(f"the bundle's {name} is missing")
    try:
        return files[name].decode()
    except UnicodeDecodeError:
        raise InvalidBundle(f"the bundle's {name} is not text") from None


def _object(name: str, files: Mapping[str, bytes], manifest: Manifest) -> Mapping[str, Any]:
    try:
        raw = json.loads(_text(name, files, manifest))
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise InvalidBundle(f"the bundle's {name} is not a JSON object")
    return raw


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _digest(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(sorted(hashes.items()))).encode()).hexdigest()


def _kind_stem(kind: str) -> str:
    # a kind is a free word, and a file name is not
    return f"kind-{hashlib.sha256(kind.encode()).hexdigest()[:12]}"
