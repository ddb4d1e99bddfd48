"""The SDK of the Compute Generation Network: the DApp client, receipts, and the framework for DServices."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`__version__`, looked up when somebody asks: importing any part of the SDK runs this file."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cgn-sdk")
    except PackageNotFoundError:  # a folder that was never installed
        return "0.0.0"
