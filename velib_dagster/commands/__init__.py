"""The commands of `velib`, by what they are for; `cli.py` puts them together. Each one loads only what it needs."""
