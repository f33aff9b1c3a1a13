"""`python -m frostline`."""

from frostline.commands.cli import main

main()
