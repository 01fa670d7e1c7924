/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Numbered records on a disk: whoever looks at a sector sees which record wrote it.
 *
 * The disk is made of slots.  Records are numbered from 1, and each overwrites what
 * older ones have left in its slot, as far as it reaches: most with sectors that have
 * its number, some with zeros (by WRITE_ZEROES).
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stdint.h>

#define SECTOR_BYTES 512u
#define SLOTS	     16u
#define SLOT_SECTORS 64u
#define SLOT_BYTES   (SLOT_SECTORS * SECTOR_BYTES)
#define DISK_SECTORS (SLOTS * SLOT_SECTORS)
#define DISK_BYTES   (SLOTS * SLOT_BYTES)

/* Records that may be on the disk, or on their way there, and not be acknowledged. */
#define MAX_AHEAD    8u

/* The periods of length and kind have no factor in common with SLOTS. */
static inline uint32_t record_slot(uint64_t n)
{
	return n % SLOTS;
}

static inline uint32_t record_sectors(uint64_t n)
{
	static const uint8_t sectors[] = { 1, 8, 3, SLOT_SECTORS, 17 };

	return sectors[n % sizeof(sectors)];
}

static inline bool record_zeroes(uint64_t n)
{
	return n % 7 == 3;
}

/* What record @n, which is no zeros, has in sector @i of its slot. */
static inline void record_fill(uint64_t n, uint32_t i, uint64_t *sector)
{
	for (uint32_t word = 0; word < SECTOR_BYTES / 8; word++)
		sector[word] = n ^ (uint64_t)(word * SLOT_SECTORS + i + 1)
					   << 40;
}

/* The record that wrote such a sector; anything if none did. */
static inline uint64_t record_number(uint32_t i, const uint64_t *sector)
{
	return sector[0] ^ (uint64_t)(i + 1) << 40;
}

/* Does record @n reach to sector @i of @slot? */
static inline bool record_reaches(uint64_t n, uint32_t slot, uint32_t i)
{
	return n && record_slot(n) == slot && i < record_sectors(n);
}

#endif
