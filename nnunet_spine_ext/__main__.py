"""`python -m nnunet_spine_ext` is `nnunet_spine`."""

from nnunet_spine_ext.cli import main

if __name__ == "__main__":
    main()
