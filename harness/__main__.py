"""`python -m harness`."""

from harness.commands.main import main

if __name__ == "__main__":
    main()
