# Rill: see README.md. `make help` lists the targets.
#
# Each folder's *.c make one library (*_main.c make programs); tests/<folder>/test_*.c make one cmocka program each.
# Two builds: build/release (-O2, hardened; bin/) and build/debug (ASan and UBSan; the tests).

SHELL := /bin/bash
.DEFAULT_GOAL := all

# Each folder and what it links against: architecture.md's table.
FOLDERS := base crypto wire channel store ledger ledger/embedded settlement hub watchtower wallet bench
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
USES_bench           := wallet watchtower hub settlement ledger/embedded ledger store channel wire crypto base
# The vector runner needs no more than what has vectors.
USES_vectors         := ledger/embedded ledger store channel wire crypto base

PROGRAMS := rill-hubd:hub/hubd_main.c rill-ledgerd:ledger/embedded/ledgerd_main.c \
            rill-towerd:watchtower/towerd_main.c rill:wallet/rill_main.c rill-bench:bench/bench_main.c

PACKAGES := libsecp256k1 nettle libcrypto libssl libevent libevent_openssl msgpack jansson
CC       ?= gcc
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Werror
COMMON   := -std=c11 -D_GNU_SOURCE -I. -Iinclude -g -MMD -MP $(WARNINGS) $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
RELEASE  := -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
DEBUG    := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DRILL_DEBUG
LIBS     := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lrocksdb -lpthread -lm
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

$(eval $(call build,release,$(RELEASE),$(HARDEN)))
$(eval $(call build,debug,$(DEBUG),))
$(foreach f,$(BUILT),$(eval $(call library,release,$(f)))$(eval $(call library,debug,$(f))))
$(foreach t,$(TESTS),$(eval $(call test,$(t),$(patsubst tests/%/,%,$(dir $(t))))))

BINS := $(foreach p,$(PROGRAMS),$(if $(wildcard $(lastword $(subst :, ,$(p)))),bin/$(firstword $(subst :, ,$(p)))))
$(foreach p,$(PROGRAMS),$(eval $(call program,$(firstword $(subst :, ,$(p))),$(basename $(lastword $(subst :, ,$(p)))),$(patsubst %/,%,$(dir $(lastword $(subst :, ,$(p))))))))

.PHONY: all setup tests check check-layers check-style check-vectors format demo clean help
all: $(BINS) ## build the programs into bin/

setup: ## install what is missing (Debian packages)
	@scripts/setup

tests: $(TESTS:%=build/debug/%) ## build every test program

check-vectors: build/debug/tests/vectors/test_vectors ## run a vector file: make check-vectors VECTORS=FILE
	@RILL_VECTORS=$(or $(VECTORS),tests/vectors/vectors.json) $<

check-layers: ## hold the includes against the table of docs/architecture.md
	@scripts/check-layers

check-style: check-layers ## clang-format, layers, banned calls
	@scripts/check-style

format: ## rewrite the sources as .clang-format says
	@clang-format -i $$(git ls-files '*.c' '*.h')

clean: ## remove everything that was built
	rm -rf build bin

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 18
