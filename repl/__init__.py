"""What pokes it: the console, its commands and the command line."""
