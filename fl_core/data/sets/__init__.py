"""Data sets, one file each: a function of the section `data` that gives the `Task`."""
