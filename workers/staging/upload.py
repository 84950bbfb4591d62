"""Take one file out: a part at a time, each with its checksum, and only the part again that a connection broke on."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from workers.staging.problems import StagingFailed
from workers.staging.store import failed

PART_BYTES = 16 * 1024 * 1024
"""In memory at once; a file that is no larger is sent as a whole."""
_MOST_PARTS = 10_000
TRIES = 6
PAUSE_S = 0.5


def upload(client: Any, file: BinaryIO, size: int, bucket: str, key: str) -> None:
    """Send an open file of so many bytes; StagingFailed says which one and why not."""
    url = f"s3://{bucket}/{key}"
    place = {"Bucket": bucket, "Key": key}
    if size <= PART_BYTES:
        data = _read(file, size, url)
        _again(url, lambda: client.put_object(**place, Body=data, ChecksumSHA256=_sha256(data)))
    else:
        _send_parts(client, file, size, place, url)
    there = _again(url, lambda: client.head_object(**place))
    if int(there["ContentLength"]) != size:
        raise StagingFailed(url, f"{there['ContentLength']:,} of {size:,} bytes arrived", may_pass=True)


def _send_parts(client: Any, file: BinaryIO, size: int, place: dict[str, str], url: str) -> None:
    part_bytes = max(PART_BYTES, -(-size // _MOST_PARTS))
    begun = _again(url, lambda: client.create_multipart_upload(**place, ChecksumAlgorithm="SHA256"))
    whole = {**place, "UploadId": begun["UploadId"]}
    parts: list[dict[str, Any]] = []
    try:
        for number in range(1, -(-size // part_bytes) + 1):
            data = _read(file, min(part_bytes, size - (number - 1) * part_bytes), url)
            parts.append(_part(client, whole, number, data, url))
        _again(url, lambda: client.complete_multipart_upload(**whole, MultipartUpload={"Parts": parts}))
    except BaseException:
        with suppress(ClientError, BotoCoreError):  # what is left of it costs money where nobody clears it away
            client.abort_multipart_upload(**whole)
        raise


def _part(client: Any, whole: dict[str, str], number: int, data: bytes, url: str) -> dict[str, Any]:
    sum_of_it = _sha256(data)
    sent = _again(url, lambda: client.upload_part(**whole, PartNumber=number, Body=data, ChecksumSHA256=sum_of_it))
    return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sum_of_it}


def _again(url: str, call: Callable[[], Any]) -> Any:
    """One call, made again while what stands in its way may pass."""
    for number in range(TRIES):
        try:
            return call()
        except (ClientError, BotoCoreError) as error:
            problem = failed(url, error)
            if not problem.may_pass or number == TRIES - 1:
                raise problem from None
        time.sleep(PAUSE_S * 2**number)
    raise AssertionError  # pragma: no cover - the last try returns or raises


def _read(file: BinaryIO, size: int, url: str) -> bytes:
    data = b""
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise StagingFailed(url, "the file became shorter while it was sent")
        data += more
    return data


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
