// SPDX-License-Identifier: GPL-2.0
/* Random numbers, see unit.h. */
#include <string.h>

#include "unit.h"

static uint64_t state;
static const uint8_t *input;
static size_t input_bytes;

void seed(uint64_t number)
{
	state = number;
}

void fuzz_input(const uint8_t *bytes, size_t n)
{
	input = bytes;
	input_bytes = n;
}

size_t fuzz_left(void)
{
	return input_bytes;
}

static uint64_t from_input(size_t bytes)
{
	uint64_t value = 0;

	if (bytes > input_bytes)
		bytes = input_bytes;
	memcpy(&value, input, bytes);
	input += bytes;
	input_bytes -= bytes;
	return value;
}

/* splitmix64 */
uint64_t rnd(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	if (input)
		return from_input(sizeof(z));
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* A fuzzer's bytes are dear. */
uint64_t below(uint64_t n)
{
	if (input && n <= 256)
		return from_input(1) % n;
	if (input && n <= 65536)
		return from_input(2) % n;
	return rnd() % n;
}

uint64_t edgy(void)
{
	static const uint64_t edges[] = {
		0,	    1ull << 8,	1ull << 12, 1ull << 16, 1ull << 31,
		1ull << 32, 1ull << 52, 1ull << 62, 1ull << 63, UINT64_MAX - 3,
	};

	if (below(4))
		return edges[below((sizeof(edges) / sizeof(edges[0])))] +
		       below(7) - 3;
	return rnd() >> below(64);
}
