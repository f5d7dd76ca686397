# Faults from outside: a library that stands between a program and libc (interpose.c).
build/faults/libfaults.so: tests/faults/interpose.c tests/faults/faults.h
	@mkdir -p build/faults
	@echo "  LINK  $@"
	@$(CC) $(COMMON) -O1 -fPIC -shared $< -ldl -o $@
