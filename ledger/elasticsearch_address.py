"""Where a cluster is and who asks it, as a URL says it (L-6).

    https://user:password@host:9200/prefix?ca=/etc/cgn/elastic-ca.pem
    https://host:9200/prefix?ca=…&api_key=…

User and password are percent-decoded, so that any character can stand in them. `ca`: PEM file of the authority that
signed the server's certificate; without it the machine's own authorities count. `api_key`: instead of user and
password. The path prefixes the index names (`cgn` by default).
"""

from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

OPTIONS: Final = frozenset({"ca", "api_key"})


class Address(NamedTuple):
    server: str
    """Scheme, host and port: nothing secret, for messages too."""
    prefix: str
    user: str = ""
    password: str = ""
    api_key: str = ""
    ca: str = ""

    def credentials(self) -> dict[str, Any]:
        """Arguments of the client."""
        found: dict[str, Any] = {}
        if self.user:
            found["basic_auth"] = (self.user, self.password)
        if self.api_key:
            found["api_key"] = self.api_key
        if self.ca:
            found["ca_certs"] = self.ca
        return found

    @property
    def who(self) -> str:
        """Who asks, in words."""
        return f"user {self.user!r}" if self.user else "this API key" if self.api_key else "an unknown user"


def address_of(url: str) -> Address:
    """Returns what a URL says. Raises ValueError with what to change."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - OPTIONS)
    if not parts.hostname:
        raise ValueError("the ledger's URL names no host: https://user:password@host:9200/prefix")
    if unknown:
        raise ValueError(f"the ledger's URL has no option {unknown[0]!r:.40}; it knows {', '.join(sorted(OPTIONS))}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("the ledger's URL needs user and password, or neither: https://user:password@host:9200/prefix")
    if user and options.get("api_key"):
        raise ValueError("the ledger's URL has a user and an API key: one of them")
    ca = options.get("ca", "")
    if ca and parts.scheme != "https":
        raise ValueError("the ledger's URL names an authority (ca), which only https:// uses")
    if ca and not Path(ca).is_file():
        raise ValueError(f"the ledger's authority (ca) {ca} is not a file")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    prefix = unquote(parts.path).strip("/") or "cgn"
    return Address(f"{parts.scheme}://{host}:{port}", prefix, user, password, options.get("api_key", ""), ca)
