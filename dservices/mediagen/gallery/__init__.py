"""Ready-made scripts with a picture each (G-10): `gallery.toml` is the table, `scripts/` the scripts, `sources` the
pictures they work on. `python -m dservices.mediagen.gallery build` makes docs/gallery with a real node and miner,
`serve` lets a browser try every MRL.
"""
