# rill-merchantd as it is shipped, with a hub, a ledger and a paying wallet that are real too: its description, bad input, web
# hooks, crashes, and the code in docs/merchants.md.
MERCHANT_TOOL     := tests/merchant/node_modules/.package-lock.json
# Where the programs are: bin, or build/debug/bin (with sanitizers).
MERCHANT_PROGRAMS ?= bin

$(MERCHANT_TOOL): tests/merchant/package.json tests/merchant/package-lock.json
	npm ci --prefix tests/merchant --no-audit --no-fund
	@touch $@

.PHONY: check-merchant
check-merchant: $(foreach p,rill-ledgerd rill-hubd rill-towerd rill-merchantd rill rill-demo,$(MERCHANT_PROGRAMS)/$(p)) contracts $(MERCHANT_TOOL) build/faults/libfaults.so ## the merchant's API: its description, bad input, web hooks, crashes, docs/merchants.md
	@RILL_BIN=$(MERCHANT_PROGRAMS) tests/merchant/check
