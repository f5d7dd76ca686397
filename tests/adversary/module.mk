# Attacks on live processes, and floods. ATTACK='a pattern *' runs only the attacks that it matches.
ADVERSARY := $(filter-out tests/adversary/test_%,$(wildcard tests/adversary/*.c))
$(patsubst %.c,build/debug/%,$(wildcard tests/adversary/test_*.c)): $(ADVERSARY:%.c=build/debug/%.o)
-include $(ADVERSARY:%.c=build/debug/%.d)
