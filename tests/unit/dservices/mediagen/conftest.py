"""What workers do once at their start is done once here, too."""

import pytest

from dservices.mediagen.operations.fonts import Fonts


@pytest.fixture(scope="session", autouse=True)
def _packaged_fonts() -> None:
    """The first text that is drawn settles which fonts this process sees: whatever test comes first, only ours."""
    Fonts(None).install()
