# Fuzzers (libFuzzer, with ASan and UBSan): one program per tests/fuzz/fuzz_*.c, built by clang into build/fuzz/.
# docs/fuzzing.md says what each holds. FUZZ_SECONDS is what each gets, FUZZ_JOBS how many run at once, FUZZ chooses some.
FUZZ_SECONDS ?= 20
FUZZ_JOBS    ?= 3
FUZZERS      := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ         ?= $(FUZZERS)

FUZZ_CC     := clang-14
FUZZ_FLAGS  := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=undefined -DRILL_DEBUG
# What several targets share, and what some replace of the product (the file says why).
FUZZ_AID    := tests/fuzz/input.c

FUZZ_RECORDS := tests/fuzz/record_mutator.c
FUZZ_FOLDERS := $(filter-out bench,$(FOLDERS))
FUZZ_LIBS    = $(foreach f,$(FUZZ_FOLDERS),build/fuzz/$(f).a)

# Folders later in the list use those before it: linked last to first.
FUZZ_LINK    = $(foreach f,merchant wallet watchtower hub settlement ledger/embedded ledger store channel wire crypto base,build/fuzz/$(f).a)

build/fuzz/%: override CC := $(FUZZ_CC)
$(eval $(call build,fuzz,$(FUZZ_FLAGS),))
$(foreach f,$(FUZZ_FOLDERS),$(eval $(call library,fuzz,$(f))))

# $(call fuzzer,NAME): FUZZ_LINK_NAME has what only this one is linked with.
define fuzzer
build/fuzz/fuzz_$(1): build/fuzz/tests/fuzz/fuzz_$(1).o $(patsubst %.c,build/fuzz/%.o,$(FUZZ_AID) $(FUZZ_WITH_$(1))) $(FUZZ_LINK)
	@echo "  LINK  $$@"
	@$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $$(filter %.o,$$^) $$(filter %.a,$$^) $(LIBS) $(FUZZ_LINK_$(1)) -o $$@
-include build/fuzz/tests/fuzz/fuzz_$(1).d
endef
-include $(patsubst %.c,build/fuzz/%.d,$(FUZZ_AID) $(FUZZ_RECORDS) tests/fuzz/engine_world.c)

# Timers end at once: there is no real time in a target.
FUZZ_LINK_answers  := -Wl,--wrap=event_add
# Bytes pass as they are: there is no TLS in a target.
FUZZ_LINK_link     := $(foreach f,new set_fd set_read_ahead set_accept_state free do_handshake is_init_finished read write has_pending \
                      get_error shutdown get_shutdown,-Wl,--wrap=SSL_$(f))
# Costly parameters are refused before any work is done.
FUZZ_LINK_keystore := -Wl,--wrap=EVP_PBE_scrypt -Wl,--wrap=PKCS5_PBKDF2_HMAC
# Its journal is in memory.
FUZZ_LINK_proxy_journal := -Wl,--wrap=store_open
FUZZ_WITH_engine := tests/fuzz/engine_world.c
$(foreach f,hub wallet tower ledger shop proxy,$(eval FUZZ_WITH_$(f)_journal := $(FUZZ_RECORDS)))
$(foreach f,$(FUZZERS),$(eval $(call fuzzer,$(f))))

# What writes the corpora: from the vectors, and from the worlds of other tests.
FUZZ_SEEDS := $(wildcard tests/fuzz/seeds*.c) tests/hub/engine_world.c
build/fuzz/seeds: $(FUZZ_SEEDS:%.c=build/fuzz/%.o) $(FUZZ_LINK)
	@echo "  LINK  $@"
	@$(FUZZ_CC) $(FUZZ_FLAGS) $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS) -o $@
-include $(FUZZ_SEEDS:%.c=build/fuzz/%.d)

build/fuzz/corpus: build/fuzz/seeds tests/vectors/vectors.json
	@rm -rf $@
	@build/fuzz/seeds $@ tests/vectors/vectors.json

.PHONY: fuzz fuzzers
fuzzers: $(FUZZ:%=build/fuzz/fuzz_%) build/fuzz/corpus ## build the fuzzers and their corpora
	@:

fuzz: setup ## run each fuzzer for FUZZ_SECONDS (20); FUZZ='engine rlp' chooses some
	$(AGAIN) $(PARALLEL) fuzzers
	@tests/fuzz/run '$(FUZZ_SECONDS)' '$(FUZZ_JOBS)' $(FUZZ)
