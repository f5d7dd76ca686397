# Fraud drills with the programs as they are shipped: make drill [LEDGER=evm] [DRILL='a pattern *'].
DRILL_SOURCES := $(wildcard tests/drill/*.c)
-include $(DRILL_SOURCES:%.c=build/debug/%.d)

.PHONY: drill
drill: programs build/debug/tests/drill/run_drills $(if $(filter evm,$(LEDGER)),contracts) ## fraud drills with real programs: who cheats, what it costs, what the honest side gets; build/drill.json. LEDGER=evm
	@RILL_BIN=bin build/debug/tests/drill/run_drills --ledger $(or $(LEDGER),embedded)

build/debug/tests/drill/run_drills: $(DRILL_SOURCES:%.c=build/debug/%.o) $(TEST_AID:%.c=build/debug/%.o) $(call libraries,debug,bench)
	@echo "  LINK  $@"
	@$(CC) $(DEBUG) $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS) -o $@
