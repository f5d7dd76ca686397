# What becomes of keys: tests/secrets/test_secrets.c runs the real programs, and key_path.c, compiled as what is shipped, under
# valgrind.
KEY_PATH      := build/release/tests/secrets/key_path
KEY_PATH_LIBS := $(foreach f,ledger channel wire crypto base,build/release/$(f).a)
# What the library gives back is public (key_path.c).
KEY_PATH_WRAP := secp256k1_ecdsa_sign_recoverable secp256k1_ec_pubkey_create secp256k1_ec_seckey_verify

$(KEY_PATH): $(KEY_PATH).o $(KEY_PATH_LIBS)
	@echo "  LINK  $@"
	@$(CC) $(RELEASE) $^ $(KEY_PATH_WRAP:%=-Wl,--wrap=%) $(LIBS) $(HARDEN) -o $@
-include $(KEY_PATH).d

# The tests that run them.
build/debug/tests/secrets/test_secrets: | $(KEY_PATH)
