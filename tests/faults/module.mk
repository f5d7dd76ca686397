# Faults from outside: a library that stands between a program and libc (interpose.c).
build/faults/libfaults.so: tests/faults/interpose.c tests/faults/faults.h
	@mkdir -p build/faults
	@echo "  LINK  $@"
	@$(CC) $(COMMON) -O1 -fPIC -shared $< -ldl -o $@

# How many n: for each kind of fault, the first n writes, or fsyncs, fail.
DISK_FAULTS ?= 3

.PHONY: disk-faults
disk-faults: build/debug/tests/faults/run_disk_faults build/faults/libfaults.so programs ## hub, ledger and wallet on a disk whose n-th write or fsync fails, n up to DISK_FAULTS
	@DISK_FAULTS=$(DISK_FAULTS) RILL_BIN=bin build/debug/tests/faults/run_disk_faults

build/debug/tests/faults/run_disk_faults: build/debug/tests/faults/run_disk_faults.o $(TEST_AID:%.c=build/debug/%.o) $(call libraries,debug,bench)
	@echo "  LINK  $@"
	@$(CC) $(DEBUG) $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS) -o $@

-include build/debug/tests/faults/run_disk_faults.d
