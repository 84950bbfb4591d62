"""The client of an S3-compatible store, and its errors in our words."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import (
    ConnectionError as NoConnection,
)

from workers.staging.plan import Access
from workers.staging.problems import StagingFailed

_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 4},
    # checksums are asked for where we use them: other stores than Amazon's do not know all of them
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_BY_PATH = Config(s3={"addressing_style": "path"})
"""Of a store that may have no name of its own for each bucket."""
_BROKEN = (NoConnection, HTTPClientError, IncompleteReadError)
"""The connection broke, and the same may succeed over another."""
_THERE = {
    "404": "there is no such file",
    "NoSuchKey": "there is no such file",
    "NoSuchBucket": "there is no such bucket",
}
_DENIED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_BUSY = {"500", "502", "503", "504", "InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout"}


def make_client(access: Access) -> Any:
    """A client with these keys and no others: what the host knows of Amazon is not a job's to use. StagingFailed where
    its address or its region is none."""
    try:
        return boto3.client(
            "s3",
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            aws_session_token=access.session_token,
            endpoint_url=access.endpoint_url,
            region_name=access.region or "us-east-1",
            config=_CONFIG.merge(_BY_PATH) if access.endpoint_url else _CONFIG,
        )
    except (ValueError, BotoCoreError) as error:
        where = access.endpoint_url or "AWS"
        raise StagingFailed(where, f"this is no address of a store ({type(error).__name__})") from None


def failed(url: str, error: ClientError | BotoCoreError) -> StagingFailed:
    """What the store answered, in a sentence."""
    if not isinstance(error, ClientError):
        broke = isinstance(error, _BROKEN)
        what = "cannot be reached" if broke else "cannot be asked for it"
        return StagingFailed(url, f"the store {what} ({type(error).__name__})", may_pass=broke)
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _THERE:
        return StagingFailed(url, _THERE[code])
    if code in _DENIED:
        return StagingFailed(url, f"the store refuses access with these keys ({code})")
    return StagingFailed(url, f"the store answered {code or 'an error'}", may_pass=code in _BUSY)
