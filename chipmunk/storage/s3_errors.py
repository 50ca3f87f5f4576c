"""What S3 and the way there can answer, as this system's errors: which pass by themselves, and a sentence for the rest."""

from __future__ import annotations

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)

from chipmunk.errors import Problem
from chipmunk.storage import Missing, StoreUnavailable

FAILURES = (BotoCoreError, ClientError, aiohttp.ClientError, ConnectionError, TimeoutError)
THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "429"}
PASSING = THROTTLED | {
    "BadDigest", "ConditionalRequestConflict", "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable",
    "XAmzContentSHA256Mismatch",
}  # fmt: skip
MISSING = {"NoSuchKey", "NoSuchUpload"}
SENTENCES = {
    "The S3 bucket is not there.": {"NoSuchBucket"},
    "The S3 store does not accept the credentials.": {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"},
    "The S3 store does not let these credentials do this.": {"AccessDenied", "AllAccessDisabled", "403"},
    "The clock of this machine and that of the S3 store differ too much.": {"RequestTimeTooSkewed", "RequestExpired"},
    "The S3 bucket is in another region than the backend says.": {
        "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301",
    },
    "The S3 store is full, or a quota of it is.": {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"},
    "The S3 store cannot encrypt as the backend says.": {
        "KMS.NotFoundException", "KMS.DisabledException", "InvalidEncryptionAlgorithmError", "ServerSideEncryptionNotSupported",
    },
    "The S3 store asks for slower requests.": THROTTLED,
    "The S3 store fails inside.": {"InternalError", "ServiceUnavailable", "500", "502", "503", "504"},
    "What arrived at the S3 store was not what was sent.": {"BadDigest", "XAmzContentSHA256Mismatch"},
}  # fmt: skip
BY_CODE = {code: sentence for sentence, codes in reversed(SENTENCES.items()) for code in codes}


def code(error: BaseException) -> str:
    """What S3 called it; where there was no body to say, as with HEAD, the status."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def status(error: BaseException) -> int:
    """Of the answer; 0 where there was none."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def passes(error: BaseException) -> bool:
    """Whether it is worth to ask again."""
    if isinstance(error, ClientError):
        return code(error) in PASSING or status(error) == 429 or 500 <= status(error) != 501
    return not isinstance(error, SSLError)


def translated(error: BaseException) -> Problem:
    """Missing or StoreUnavailable, with a sentence that holds no secret, no address and no signature."""
    if isinstance(error, ClientError):
        if code(error) in MISSING:
            return Missing()
        sentence = BY_CODE.get(code(error)) or BY_CODE.get(str(status(error)))
        return StoreUnavailable(sentence or f"The S3 store refuses this: {code(error)[:80]}.")
    if isinstance(error, SSLError):
        return StoreUnavailable("The certificate of the S3 endpoint is not one that is trusted here.")
    if isinstance(error, TimeoutError | ReadTimeoutError | ConnectTimeoutError | aiohttp.ServerTimeoutError):
        return StoreUnavailable("The S3 endpoint does not answer in time.")
    if isinstance(error, EndpointConnectionError):
        return StoreUnavailable("The S3 endpoint cannot be reached.")
    return StoreUnavailable("The connection to the S3 endpoint broke.")
