# The EVM side: compiles the contract with the pinned solc, runs it on anvil against tokens and clients that misbehave,
# compares it with the embedded ledger call by call, and measures its gas.
# EVM_CALLS and EVM_SEED choose another comparison; a seed that fails is printed and plays again.
EVM_CALLS ?= 20000
EVM_SEED  ?= rill
# node --test files: add yours here, or with EVM_TESTS += in another module.mk.
EVM_TESTS += tests/evm/hostile.mjs tests/evm/client_test.mjs tests/evm/small_client_test.mjs
# Where the programs are: bin, or build/debug/bin (with sanitizers), as `make check` has it.
EVM_PROGRAMS ?= bin

CONTRACTS     := ledger/contracts
CONTRACT_TOOL := $(CONTRACTS)/node_modules/.package-lock.json
EVM_SOURCES   := $(wildcard $(CONTRACTS)/*.sol tests/evm/contracts/*.sol) $(CONTRACTS)/compile.mjs

.PHONY: contracts contract-code check-contract-code check-evm gas gas-page
contracts: build/contracts/RillHub.json ## compile the Solidity contract into build/contracts

$(CONTRACT_TOOL): $(CONTRACTS)/package.json $(CONTRACTS)/package-lock.json
	npm ci --prefix $(CONTRACTS) --no-audit --no-fund
	@touch $@

build/contracts/RillHub.json: $(CONTRACT_TOOL) $(EVM_SOURCES)
	node $(CONTRACTS)/compile.mjs tests/evm/contracts

contract-code: contracts ## write the contract's code, as compiled, to where the C build takes it from
	node $(CONTRACTS)/code.mjs

check-contract-code: contracts ## hold the code that `rill ledger deploy` deploys against the Solidity sources
	@node $(CONTRACTS)/code.mjs --check

gas: contracts ## measure the contract's gas on anvil: a table, build/gas.json, and docs/gas.md compared
	@node tests/evm/gas.mjs

gas-page: contracts ## write what was measured into docs/gas.md
	@node tests/evm/gas.mjs --write

# Every part runs, whatever became of the one before; the last line sums up.
check-evm: build/release/tests/drill/run_drills $(EVM_PROGRAMS)/rill-towerd $(EVM_PROGRAMS)/rill-ledgerd $(EVM_PROGRAMS)/rill-hubd $(EVM_PROGRAMS)/rill contracts ## the contract on a real EVM: hostile tests, gas, both ledgers side by side
	@RILL_BIN=$(EVM_PROGRAMS) tests/evm/check --seed '$(EVM_SEED)' --calls $(EVM_CALLS) $(EVM_TESTS)
