# The EVM side: compiles the contract with the pinned solc, and compares it with the embedded ledger call by call.
# EVM_CALLS and EVM_SEED choose another run; a seed that fails is printed and plays again.
EVM_CALLS ?= 2000
EVM_SEED  ?= rill

CONTRACTS     := ledger/contracts
CONTRACT_TOOL := $(CONTRACTS)/node_modules/.package-lock.json
EVM_SOURCES   := $(wildcard $(CONTRACTS)/*.sol tests/evm/contracts/*.sol) $(CONTRACTS)/compile.mjs

.PHONY: contracts check-evm
contracts: build/contracts/RillHub.json ## compile the Solidity contract into build/contracts

$(CONTRACT_TOOL): $(CONTRACTS)/package.json $(CONTRACTS)/package-lock.json
	npm ci --prefix $(CONTRACTS) --no-audit --no-fund
	@touch $@

build/contracts/RillHub.json: $(CONTRACT_TOOL) $(EVM_SOURCES)
	node $(CONTRACTS)/compile.mjs tests/evm/contracts

check-evm: bin/rill-ledgerd bin/rill-hubd bin/rill contracts ## the contract on a real EVM: hostile tokens and clients, a wallet in JavaScript, then both ledgers side by side
	node --test tests/evm/hostile.mjs
	node --test tests/evm/client_test.mjs
	node tests/evm/differential.mjs --seed '$(EVM_SEED)' --calls $(EVM_CALLS)
