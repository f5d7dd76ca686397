# Static analysis: scripts/check-analysis; .clang-tidy has the checks and their reasons.
.PHONY: check-analysis
check-analysis: setup ## static analysis (clang-tidy-14) of everything that is shipped
	@scripts/check-analysis
