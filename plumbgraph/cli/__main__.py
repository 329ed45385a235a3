"""`python -m plumbgraph.cli`: the command line where the script is not on the path."""

from plumbgraph.cli.app import main

main()
