# Fraud drills with the programs as they are shipped: make drill [LEDGER=evm] [CHANNELS=100] [DRILL='a pattern *']. The cheats are
# optimised too, so that a thousand of them come at once.
DRILL_SOURCES := $(wildcard tests/drill/*.c)
-include $(DRILL_SOURCES:%.c=build/release/%.d)

.PHONY: drill
drill: programs build/release/tests/drill/run_drills $(if $(filter evm,$(LEDGER)),contracts) ## fraud drills with real programs: who cheats, what it costs, what the honest side gets; build/drill.json. LEDGER=evm
	@RILL_BIN=bin $(if $(CHANNELS),DRILL_CHANNELS=$(CHANNELS)) build/release/tests/drill/run_drills --ledger $(or $(LEDGER),embedded)

build/release/tests/drill/run_drills: $(DRILL_SOURCES:%.c=build/release/%.o) $(TEST_AID:%.c=build/release/%.o) $(call libraries,release,wallet)
	@echo "  LINK  $@"
	@$(CC) $(RELEASE) $^ -lcmocka $(LIBS) $(HARDEN) -o $@
