/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the bench (guests.c) and its Linux guest (guest.c) tell each other, by
 * frames: the bench orders work, the guest answers when it is done.
 */
#ifndef GUESTS_H
#define GUESTS_H

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#define ETHERTYPE_ORDER 0x88b5 /* those for local experiments */
#define ETHERTYPE_DATA	0x88b6

#define BLOCK		4096u
#define DISK		(4u << 20) /* its size */
#define DEPTH		32u /* reads in one go */
#define BULK		64u /* frames in one go */
#define MAX_FRAME	1514u

enum work {
	WORK_NOTHING,
	WORK_EXIT, /* an instruction that leaves the guest */
	WORK_SUM, /* of all that is on the disk, into @answer */
	WORK_READ, /* a block, one after the other */
	WORK_READ_DEEP, /* DEPTH blocks at once */
	WORK_SEND_BULK, /* BULK frames */
	WORK_RECEIVE, /* a frame */
	WORK_ECHO, /* ... and send it back */
};

/*
 * @turns: how often
 * @bytes: size of a frame
 */
struct order {
	uint8_t to[6];
	uint8_t from[6];
	uint16_t ethertype;
	uint16_t work;
	uint32_t turns;
	uint32_t bytes;
	int64_t answer; /* or a negative error number */
	uint8_t rest[28];
} __attribute__((packed));

static const uint8_t guest_mac[6] = { 2, 'h', 'c', 'a', 'l', 'l' };
static const uint8_t bench_mac[6] = { 2, 'b', 'e', 'n', 'c', 'h' };

static inline void frame_head(uint8_t *frame, const uint8_t *to,
			      const uint8_t *from, uint16_t ethertype)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = ethertype >> 8;
	frame[13] = ethertype & 0xff;
}

/* A frame of so many bytes. */
static inline void frame_fill(uint8_t *frame, uint32_t bytes, const uint8_t *to,
			      const uint8_t *from)
{
	frame_head(frame, to, from, ETHERTYPE_DATA);
	for (uint32_t i = 14; i < bytes; i++)
		frame[i] = i * 7 + bytes;
}

/* What WORK_SUM finds in a block, and where. */
static inline uint64_t block_sum(const void *block, uint64_t number)
{
	const uint32_t *word = block;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < BLOCK / sizeof(*word); i++)
		sum = sum * 31 + word[i];
	return sum * (number * 2 + 1);
}

#endif
