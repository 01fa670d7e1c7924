// SPDX-License-Identifier: GPL-2.0
/* A test program: its tests, with the random numbers of SEED. */
#include "unit.h"

int main(int argc, char **argv)
{
	const char *text = getenv("SEED");

	seed(text ? strtoull(text, NULL, 0) : 1);
	return ktap_main(argc, argv, tests, nr_tests);
}
