# Real processes, killed under load: make crash KILLS=n. The wallets are processes of their own (crash_wallet.c).
KILLS ?= 500

.PHONY: crash
crash: build/debug/tests/crash/run_crash build/crash/crash_wallet build/faults/libfaults.so programs ## kill hub, tower, wallets and ledger KILLS times under load; an observer checks what they signed
	@KILLS=$(KILLS) RILL_BIN=bin build/debug/tests/crash/run_crash

build/crash/crash_wallet: build/release/tests/crash/crash_wallet.o $(call libraries,release,wallet)
	@mkdir -p build/crash
	@echo "  LINK  $@"
	@$(CC) $(RELEASE) $^ $(LIBS) $(HARDEN) -o $@

build/debug/tests/crash/run_crash: build/debug/tests/crash/run_crash.o build/debug/tests/crash/observer.o $(TEST_AID:%.c=build/debug/%.o) $(call libraries,debug,bench)
	@echo "  LINK  $@"
	@$(CC) $(DEBUG) $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS) -o $@

-include build/release/tests/crash/crash_wallet.d build/debug/tests/crash/run_crash.d build/debug/tests/crash/observer.d
