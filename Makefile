# Rill: see README.md. `make help` lists the targets.
#
# Each folder's *.c make one library (*_main.c make programs); tests/<folder>/test_*.c make one cmocka program each.
# Two builds: build/release (-O2, hardened; bin/) and build/debug (ASan and UBSan; the tests).

SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# Each folder and what it links against: architecture.md's table.
FOLDERS := base crypto wire channel store ledger ledger/embedded settlement hub watchtower wallet merchant bench
USES_base            :=
USES_crypto          := base
USES_wire            := crypto base
USES_channel         := crypto base
USES_store           := base
USES_ledger          := crypto base
USES_ledger/embedded := ledger store crypto base
USES_settlement      := ledger store channel crypto base
USES_hub             := settlement ledger store channel wire crypto base
USES_watchtower      := ledger store channel wire crypto base
USES_wallet          := ledger store channel wire crypto base
USES_merchant        := wallet ledger store channel wire crypto base
USES_bench           := merchant wallet watchtower hub settlement ledger/embedded ledger store channel wire crypto base
# The vector runner needs no more than what has vectors.
USES_vectors         := ledger/embedded ledger store channel wire crypto base

PROGRAMS := rill-hubd:hub/hubd_main.c rill-ledgerd:ledger/embedded/ledgerd_main.c \
            rill-towerd:watchtower/towerd_main.c rill:wallet/rill_main.c rill-merchantd:merchant/merchantd_main.c rill-bench:bench/bench_main.c \
            rill-demo:bench/demo_main.c rill-journal-bench:bench/journal_bench_main.c

PACKAGES := libsecp256k1 nettle libcrypto libssl libevent libevent_openssl msgpack jansson libqrencode
ifeq ($(origin CC),default)
CC       := gcc
endif
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
COMMON   := -std=c11 -D_GNU_SOURCE -I. -Iinclude -g -MMD -MP $(WARNINGS) $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
RELEASE  := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
DEBUG    := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DRILL_DEBUG
LIBS     := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lrocksdb -llz4 -lpthread -lm
HARDEN   := -pie -Wl,-z,relro,-z,now

MAINS    := $(foreach p,$(PROGRAMS),$(lastword $(subst :, ,$(p))))
sources_of = $(filter-out %_main.c,$(wildcard $(1)/*.c))
SOURCES  := $(foreach f,$(FOLDERS),$(call sources_of,$(f)))
# Folders with code, and the libraries of a folder with all it uses, in link order.
BUILT    := $(foreach f,$(FOLDERS),$(if $(call sources_of,$(f)),$(f)))
libraries = $(foreach f,$(2) $(USES_$(2)),$(if $(filter $(f),$(BUILT)),build/$(1)/$(f).a))
TESTS    := $(basename $(wildcard tests/*/test_*.c))
TEST_AID := $(wildcard tests/support/*.c)
# The vector runner is linked with a file of checkers per group.
SECTIONS := $(wildcard tests/vectors/section_*.c)

include scripts/targets.mk
include $(wildcard merchant/module.mk tests/*/module.mk)

$(eval $(call build,release,$(RELEASE),$(HARDEN)))
$(eval $(call build,debug,$(DEBUG),))
$(eval $(call build,clang,-O1,))
$(foreach f,$(BUILT),$(eval $(call library,release,$(f)))$(eval $(call library,debug,$(f))))
$(foreach t,$(TESTS),$(eval $(call test,$(t),$(patsubst tests/%/,%,$(dir $(t))))))

BINS := $(foreach p,$(PROGRAMS),$(if $(wildcard $(lastword $(subst :, ,$(p)))),bin/$(firstword $(subst :, ,$(p)))))
$(foreach p,$(PROGRAMS),$(eval $(call program,$(firstword $(subst :, ,$(p))),$(basename $(lastword $(subst :, ,$(p)))),$(patsubst %/,%,$(dir $(lastword $(subst :, ,$(p))))))))

# `make check` and `make demo` each work as the only command on a fresh machine. What pkg-config says above is
# asked when make starts, so after an installation the work is done by a make that starts anew.
AGAIN := @$(MAKE) --no-print-directory
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all setup programs debug-programs tests check demo bench check-layers check-style check-vectors check-clang \
        check-docs docs format clean help
all: setup ## build the programs into bin/
	$(AGAIN) $(PARALLEL) programs

check: setup ## every test; the last line is 'N passed, N failed'
	@scripts/run-tests

# LEDGER=evm plays it on an EVM chain: anvil, which npm brings, with the code that the Solidity sources make.
demo: setup ## a market day, end to end, with the real programs; figures in build/demo.json. LEDGER=evm: on an EVM chain; STAY=1: keep it running to try it
	$(AGAIN) $(PARALLEL) programs $(if $(filter evm,$(LEDGER)),check-contract-code)
	@bin/rill-demo --ledger $(or $(LEDGER),embedded) $(if $(filter-out 0,$(STAY)),--stay)

bench: setup ## every workload of rill-bench, short; figures and pages with plots in build/bench/
	$(AGAIN) $(PARALLEL) programs
	@scripts/bench

setup: ## install what is missing (Debian packages)
	@scripts/setup

programs: $(BINS)
	@:

debug-programs: $(BINS:bin/%=build/debug/bin/%) ## build the programs with sanitizers into build/debug/bin/
	@:

tests: $(TESTS:%=build/debug/%) ## build every test program
	@:

check-vectors: setup ## run a vector file: make check-vectors VECTORS=FILE
	$(AGAIN) $(PARALLEL) build/debug/tests/vectors/test_vectors
	@RILL_VECTORS=$(or $(VECTORS),tests/vectors/vectors.json) build/debug/tests/vectors/test_vectors

check-layers: ## hold the includes against the table of docs/architecture.md
	@scripts/check-layers

check-style: check-layers ## clang-format, layers, banned calls
	@scripts/check-style

check-docs: debug-programs ## hold the documentation against the tree and the programs
	@scripts/check-docs build/debug/bin

check-clang: setup ## compile everything with clang too, its warnings as errors
	$(AGAIN) $(PARALLEL) CC=clang-14 $(patsubst %.c,build/clang/%.o,$(SOURCES) $(wildcard $(MAINS) tests/*/*.c))

docs: programs ## write docs/settings.md from the programs' own tables
	@scripts/write-settings bin >build/settings.md && mv build/settings.md docs/settings.md

format: ## rewrite the sources as .clang-format says
	@find $(sort $(foreach f,$(FOLDERS),$(firstword $(subst /, ,$(f))))) include tests -name '*.[ch]' | xargs clang-format-14 -i

clean: ## remove everything that was built
	rm -rf build bin

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 18
