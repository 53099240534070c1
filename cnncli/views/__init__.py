"""What `cnncli show` hangs into a run: one file per kind of picture."""
