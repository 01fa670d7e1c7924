/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test programs have in common: random numbers, and the two programs that
 * each of them becomes, with main.c a test in KTAP and with fuzz.c a fuzzer.
 */
#ifndef UNIT_H
#define UNIT_H

#include <stddef.h>
#include <stdint.h>

#include "ktap.h"

/** seed() - begin a series of random numbers */
void seed(uint64_t number);
/** fuzz_input() - from now on they are made of these bytes; then they are 0 */
void fuzz_input(const uint8_t *bytes, size_t n);
/** fuzz_left() - how many of these are left */
size_t fuzz_left(void);
uint64_t rnd(void);
/** below() - one of 0 to @n - 1 */
uint64_t below(uint64_t n);
/** edgy() - a number that likes to be at an edge: of a byte, of 32 bits, of 64 */
uint64_t edgy(void);

/* ---- What each test program defines, for main.c and fuzz.c ------------------- */

extern const struct test tests[];
extern const unsigned int nr_tests;

/** fuzz() - one of its random tests, or more, until no input is left */
void fuzz(void);

#endif
