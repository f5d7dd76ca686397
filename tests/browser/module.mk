# The payment page and the till in a real browser (Debian's chromium), with a hub, a ledger, a shop and a paying wallet that
# are real too. Screenshots: build/browser/.
BROWSER_TOOL := tests/browser/node_modules/.package-lock.json
# Where the programs are: bin, or build/debug/bin (with sanitizers).
BROWSER_PROGRAMS ?= bin

$(BROWSER_TOOL): tests/browser/package.json tests/browser/package-lock.json
	npm ci --prefix tests/browser --no-audit --no-fund
	@touch $@

.PHONY: check-browser
check-browser: $(foreach p,rill-ledgerd rill-hubd rill-merchantd rill,$(BROWSER_PROGRAMS)/$(p)) contracts $(BROWSER_TOOL) ## the payment page and the till in a real browser; screenshots in build/browser/
	@RILL_BIN=$(BROWSER_PROGRAMS) tests/browser/check
