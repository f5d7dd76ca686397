# The contract under forge: unit tests, fuzz tests and invariants, against the bytecode that is deployed.
# FOUNDRY_FUZZ_RUNS and FOUNDRY_INVARIANT_RUNS choose how much, FORGE_SEED which random numbers, FORGE_FLAGS what else
# forge is told (--match-test NAME, -vvv).
FORGE_SEED  ?= 0x52696c6c
FORGE_FLAGS ?=

.PHONY: check-forge
check-forge: contracts ## the contract under forge: every error, fuzzed arithmetic, invariants of random worlds
	@tests/forge/run --fuzz-seed $(FORGE_SEED) $(FORGE_FLAGS)
