/* SPDX-License-Identifier: MIT */
/*
 * Integers as they are on the wire, highest byte first.  They are types of
 * their own so that nobody takes one for a number, and of any alignment, so
 * that a structure made of them is laid out as it is written.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdint.h>

typedef struct {
	uint8_t byte[2];
} be16;

typedef struct {
	uint8_t byte[4];
} be32;

static inline uint16_t from_be16(be16 n)
{
	return (uint16_t)(n.byte[0] << 8 | n.byte[1]);
}

static inline uint32_t from_be32(be32 n)
{
	return (uint32_t)n.byte[0] << 24 | (uint32_t)n.byte[1] << 16 |
	       (uint32_t)n.byte[2] << 8 | n.byte[3];
}

static inline be16 to_be16(uint32_t n)
{
	return (be16){ { (uint8_t)(n >> 8), (uint8_t)n } };
}

static inline be32 to_be32(uint32_t n)
{
	return (be32){ { (uint8_t)(n >> 24), (uint8_t)(n >> 16),
			 (uint8_t)(n >> 8), (uint8_t)n } };
}

#endif /* WIRE_H */
