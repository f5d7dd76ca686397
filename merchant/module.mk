# The pages, and the API's description, are in the assembly of web_files.c and openapi.c, where the compiler does not see that
# they depend on them.
WEB_FILES := $(wildcard merchant/web/*)
$(foreach b,release debug clang,$(eval build/$(b)/merchant/web_files.o: $(WEB_FILES)))
$(foreach b,release debug clang,$(eval build/$(b)/merchant/openapi.o: merchant/openapi.json))
