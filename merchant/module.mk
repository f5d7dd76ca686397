# The pages are in the assembly of web_files.c, where the compiler does not see that it depends on them.
WEB_FILES := $(wildcard merchant/web/*)
$(foreach b,release debug clang,$(eval build/$(b)/merchant/web_files.o: $(WEB_FILES)))
