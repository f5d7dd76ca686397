# The simulator: everything that decides, in one process, one thread, one seed (docs/reliability.md).
# Its own build of the objects has the planted bugs (base/planted.h), which nothing that is shipped has; the debug build
# plays some seeds under ASan and UBSan. SEEDS, FROM and SANITIZED choose how many seeds, from which, and how many of
# them with sanitizers.
SEEDS     ?= 300
FROM      ?= 1
SANITIZED ?= $(shell echo $$(( ($(SEEDS) + 9) / 10 )))

SIM_FOLDERS := hub settlement watchtower wallet ledger/embedded ledger store channel wire crypto base
SIM_SOURCES := $(wildcard tests/sim/*.c)

$(eval $(call build,sim,-O2 -DRILL_PLANTED_BUGS,))
$(foreach f,$(SIM_FOLDERS),$(eval $(call library,sim,$(f))))
-include $(SIM_SOURCES:%.c=build/sim/%.d) $(SIM_SOURCES:%.c=build/debug/%.d)

build/sim/rill-sim: $(SIM_SOURCES:%.c=build/sim/%.o) $(SIM_FOLDERS:%=build/sim/%.a)
	@echo "  LINK  $@"
	@$(CC) -O2 $^ $(LIBS) -o $@

build/debug/tests/sim/rill-sim: $(SIM_SOURCES:%.c=build/debug/%.o) $(SIM_FOLDERS:%=build/debug/%.a)
	@echo "  LINK  $@"
	@$(CC) $(DEBUG) $^ $(LIBS) -o $@

.PHONY: sim sim-bugs
sim: ## whole lives under every fault, some with sanitizers: make sim SEEDS=300 FROM=1
	$(AGAIN) $(PARALLEL) build/sim/rill-sim build/debug/tests/sim/rill-sim
	@tests/sim/run $(FROM) $(SEEDS) $(SANITIZED)

sim-bugs: ## plant bugs one by one: the simulator has to find each within its number of seeds
	$(AGAIN) $(PARALLEL) build/sim/rill-sim
	@build/sim/rill-sim --bugs
