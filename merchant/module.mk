# merchant/openapi.json is in the assembly of openapi.c, where the compiler does not see that it depends on it.
$(foreach b,release debug clang,$(eval build/$(b)/merchant/openapi.o: merchant/openapi.json))
