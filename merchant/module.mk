# rill-merchantd: the Makefile has its room and its program.
