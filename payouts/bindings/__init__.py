"""Typed access to the contracts. `abi` and `batches` are written by hand; one module per contract and `errors` are
generated from the artefacts by `python -m payouts.bindings.generate` (infra/contracts-build runs it)."""
