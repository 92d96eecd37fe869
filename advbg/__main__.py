"""`python -m advbg` is the `advbg` command."""

from advbg.cli import main

main()
