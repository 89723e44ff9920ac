"""`python -m untangle` is the command `untangle`."""

from .launch import main

main()
