# What is in the assembly of these, where the compiler does not see that they depend on it: merchant/openapi.json, the pages.
$(foreach b,release debug clang,$(eval build/$(b)/merchant/openapi.o: merchant/openapi.json))
$(foreach b,release debug clang,$(eval build/$(b)/merchant/web_files.o: $(wildcard merchant/web/*)))
