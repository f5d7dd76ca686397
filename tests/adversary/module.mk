# Attacks on live processes, and floods. ATTACK='a pattern *' runs only the attacks that it matches.
ADVERSARY_FLOODS  := tests/adversary/run_floods.c tests/adversary/floods.c
ADVERSARY_ATTACKS := $(filter-out tests/adversary/test_% $(ADVERSARY_FLOODS),$(wildcard tests/adversary/*.c))
-include $(ADVERSARY_ATTACKS:%.c=build/debug/%.d) $(ADVERSARY_FLOODS:%.c=build/release/%.d)

.PHONY: adversary attacks-page
adversary: build/debug/tests/adversary/test_attacks build/release/tests/adversary/run_floods debug-programs programs ## attacks and floods on a live hub, ledger and tower; the table of them
	@tests/adversary/run

attacks-page: build/debug/tests/adversary/test_attacks ## write the table of attacks into docs/attacks.md
	@tests/adversary/write-page $< docs/attacks.md

build/debug/tests/adversary/test_attacks: $(ADVERSARY_ATTACKS:%.c=build/debug/%.o)
# Optimised, so that it is the hub that is measured. rill-bench's load and the tests' own process aid do not fit into one
# program: this one has no aid.
build/release/tests/adversary/run_floods: $(ADVERSARY_FLOODS:%.c=build/release/%.o) $(call libraries,release,bench)
	@echo "  LINK  $@"
	@$(CC) $(RELEASE) $^ -lcmocka $(LIBS) $(HARDEN) -o $@
