"""One module a claim; each prints a table beside its peers and writes JSON."""
