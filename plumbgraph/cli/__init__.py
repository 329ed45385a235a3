"""The command line: `plumbgraph.cli.app:main` is its entry, each noun has a file of its own."""
