// SPDX-License-Identifier: GPL-2.0
/* A fuzzer of libFuzzer's: the random tests of a program, with its bytes. */
#include "unit.h"

jmp_buf test_failed;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	fuzz_input(bytes, n);
	if (setjmp(test_failed))
		abort();
	while (fuzz_left())
		fuzz();
	return 0;
}
