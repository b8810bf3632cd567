"""One module = one published dataset. The table of all of them is `DATASETS`."""
