"""Fixtures of Central's tests; what they are made of is in tests/support/central_kit.py."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from central_kit import KEYS, NOD, Certificates, make_seed

from central_service.answers import Answers
from central_service.core.seed import read_seed
from central_service.credentials import Credentials, Hashing
from central_service.planting import plant
from central_service.store import Store


@pytest.fixture
def seed_document() -> dict[str, Any]:
    return make_seed()


@pytest.fixture
def hashing() -> Iterator[Hashing]:
    """Argon2id at its cheapest: what it costs is tested once, with the real parameters."""
    cheap = Hashing(memory_kib=8, passes=1)
    yield cheap
    cheap.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "central.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def answers(store: Store, hashing: Hashing) -> Answers:
    """A seeded network whose keys nobody has proven yet."""
    credentials = Credentials(hashing)
    await plant(store, credentials, read_seed(make_seed()))
    credentials.forget()
    return Answers(store, credentials)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "tls")


@pytest.fixture
def hello() -> dict[str, Any]:
    return {"node_id": NOD, "api_key": KEYS[NOD], "version": "0.1.0", "geolocation": "DE"}


@pytest.fixture
def seed_file(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(document: dict[str, Any]) -> Path:
        path = tmp_path / "seed.json"
        path.write_text(json.dumps(document))
        return path

    return write
