# Rules made from templates, so that the Makefile holds only names.

# $(call build,BUILD,CFLAGS,LDFLAGS): how a build compiles.
define build
build/$(1)/%.o: %.c
	@mkdir -p $$(dir $$@)
	@echo "  CC    $$@"
	@$$(CC) $(COMMON) $(2) -c $$< -o $$@

-include $(SOURCES:%.c=build/$(1)/%.d) $(MAINS:%.c=build/$(1)/%.d) $(TESTS:%=build/$(1)/%.d) $(TEST_AID:%.c=build/$(1)/%.d) $(SECTIONS:%.c=build/$(1)/%.d)
endef

# $(call library,BUILD,FOLDER): one archive per folder.
define library
build/$(1)/$(2).a: $(patsubst %.c,build/$(1)/%.o,$(call sources_of,$(2)))
	@rm -f $$@
	@ar rcs $$@ $$^
endef

# $(call test,tests/FOLDER/test_NAME,FOLDER): linked with its folder and what that uses; e2e and others with all.
define test
build/debug/$(1): build/debug/$(1).o $(TEST_AID:%.c=build/debug/%.o) $(if $(filter tests/vectors/%,$(1)),$(SECTIONS:%.c=build/debug/%.o)) $(if $(filter $(2),$(FOLDERS) vectors),$(call libraries,debug,$(2)),$(call libraries,debug,bench))
	@echo "  LINK  $$@"
	@$(CC) $(DEBUG) $$(filter %.o,$$^) $$(filter %.a,$$^) -lcmocka $(LIBS) -o $$@
endef

# $(call program,NAME,MAIN,FOLDER)
define program
bin/$(1): build/release/$(2).o $(call libraries,release,$(3))
	@mkdir -p bin
	@echo "  LINK  $$@"
	@$(CC) $(RELEASE) $$^ $(LIBS) $(HARDEN) -o $$@

build/debug/bin/$(1): build/debug/$(2).o $(call libraries,debug,$(3))
	@mkdir -p build/debug/bin
	@echo "  LINK  $$@"
	@$(CC) $(DEBUG) $$^ $(LIBS) -o $$@
endef

.SECONDARY:
