// SPDX-License-Identifier: MIT
/*
 * virtio: a textbook's driver of a disk, with calls where a bus would be.
 *
 * Reads the first sector of the first disk by a split virtqueue.  The sections
 * are those of Virtual I/O Device 1.2.
 */
#include "console.h"
#include "hcall_call.h"

#define DISK  HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, 0)
#define QUEUE 0
#define SIZE  4 /* a power of two, and room for a request */

enum {
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8
}; /* 2.1 */
enum {
	NEXT = 1,
	WRITE = 2
}; /* 2.7.5 */
#define VERSION_1 (1ull << 32) /* 6 */

static struct {
	uint64_t address;
	uint32_t bytes;
	uint16_t flags, next;
} desc[SIZE] __attribute__((aligned(16)));

static struct {
	uint16_t flags, index, ring[SIZE];
} avail __attribute__((aligned(2))); /* 2.7.6 */

static struct {
	uint16_t flags, index;
	struct {
		uint32_t id, bytes;
	} ring[SIZE];
} used __attribute__((aligned(4))); /* 2.7.8 */

static struct {
	uint32_t type, reserved;
	uint64_t sector;
} request; /* 5.2.6: of type 0, it reads */
static char data[HCALL_SECTOR_BYTES + 1];
static uint8_t status;

/* Any call may end before it has done anything, and wants to be made again. */
static int64_t call(uint32_t number, uint64_t a, uint64_t b, uint64_t c)
{
	int64_t answer;

	do
		answer = hcall(number, DISK, a, b, c);
	while (answer == -HCALL_EINTR || answer == -HCALL_EAGAIN);
	if (answer < 0) {
		print("call 0x%x: error %u\n", number, (unsigned int)-answer);
		hcall_exit(HCALL_EXIT_OFF, 1);
	}
	return answer;
}

static void set_status(uint32_t bits)
{
	if (call(HCALL_VIRTIO_STATUS, bits, 0, 0) != bits) {
		print("the device does not take status %u\n", bits);
		hcall_exit(HCALL_EXIT_OFF, 1);
	}
}

/* 3.1.1, in this order. */
static void start(void)
{
	struct hcall_virtio_queue queue = {
		.size = SIZE,
		.channel = HCALL_CHANNEL_GUEST,
		.desc = (uintptr_t)desc,
		.driver = (uintptr_t)&avail,
		.device = (uintptr_t)&used,
	};

	set_status(0);
	set_status(ACKNOWLEDGE);
	set_status(ACKNOWLEDGE | DRIVER);
	call(HCALL_VIRTIO_FEATURES, VERSION_1, 0, 0);
	set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
	call(HCALL_VIRTIO_QUEUE, QUEUE, (uintptr_t)&queue, sizeof(queue));
	set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void add(uint32_t i, void *address, uint32_t bytes, uint16_t flags)
{
	desc[i].address = (uintptr_t)address;
	desc[i].bytes = bytes;
	desc[i].flags = flags;
	desc[i].next = (uint16_t)(i + 1);
}

/* 2.7.13: the request is in the ring before the index says so. */
static void read_sector(uint64_t sector)
{
	uint16_t before = used.index;

	request.sector = sector;
	add(0, &request, sizeof(request), NEXT);
	add(1, data, HCALL_SECTOR_BYTES, NEXT | WRITE);
	add(2, &status, sizeof(status), WRITE);
	avail.ring[avail.index % SIZE] = 0;
	__atomic_store_n(&avail.index, (uint16_t)(avail.index + 1),
			 __ATOMIC_SEQ_CST);
	call(HCALL_VIRTIO_KICK, QUEUE, 0, 0);
	/* What had to wait for the disk comes later: the channel says so. */
	while (__atomic_load_n(&used.index, __ATOMIC_ACQUIRE) == before) {
		hcall_event_wait(0, 0);
		hcall_event_next();
	}
}

void _start(void)
{
	start();
	read_sector(0);
	print("status %u: %s\n", status, data);
	hcall_exit(HCALL_EXIT_OFF, status);
}
