"""A work endpoint with TLS for the client's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from central_kit import Certificates
from fake_node import FakeWorkEndpoint


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "tls")


@pytest.fixture
async def node(certificates: Certificates) -> AsyncIterator[FakeWorkEndpoint]:
    endpoint = FakeWorkEndpoint()
    await endpoint.start(certificates.server("node", mutual=False))
    yield endpoint
    await endpoint.stop()
