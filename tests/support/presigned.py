"""Addresses as a DApp hands them out: S3 with a signature in the query (SigV4), Azure blobs with a SAS."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
from urllib.parse import quote, unquote, urlsplit


def s3(
    method: str, url: str, access: str, secret: str, *, expires_s: int = 600, age_s: int = 0, region: str = "us-east-1"
) -> str:
    """AWS Signature Version 4 in the query, unsigned payload, header `host` alone."""
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age_s)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    parts = urlsplit(url)
    scope = f"{day}/{region}/s3/aws4_request"
    query = "&".join(
        f"{name}={quote(value, safe='-_.~')}"
        for name, value in sorted(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Credential": f"{access}/{scope}",
                "X-Amz-Date": stamp,
                "X-Amz-Expires": str(expires_s),
                "X-Amz-SignedHeaders": "host",
            }.items()
        )
    )
    canonical = f"{method}\n{parts.path}\n{query}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{url}?{query}&X-Amz-Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"


def sas(url: str, account: str, key: str, permissions: str, *, expires_s: int = 600, resource: str = "b") -> str:
    """A service SAS of version 2020-12-06 for one blob ("b") or its container ("c"); `url` is path-style."""
    now = datetime.datetime.now(datetime.UTC)
    start, end = ((now + datetime.timedelta(seconds=s)).strftime("%Y-%m-%dT%H:%M:%SZ") for s in (-3600, expires_s))
    path = unquote(urlsplit(url).path).removeprefix(f"/{account}")
    scope = f"/blob/{account}{path if resource == 'b' else '/' + path.split('/')[1]}"
    fields = [permissions, start, end, scope, "", "", "", "2020-12-06", resource, "", "", "", "", "", "", ""]
    signature = hmac.digest(base64.b64decode(key), "\n".join(fields).encode(), "sha256")
    query = {"sv": "2020-12-06", "st": start, "se": end, "sr": resource, "sp": permissions}
    query["sig"] = base64.b64encode(signature).decode()
    return url + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
