// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that writes records (record.h) by every door, and has each made durable by
 * what that door promises.  At the moment when it is told so, a mark with the number
 * of the last one goes to the log of the dm-log-writes that is below the disk: all
 * records up to it are acknowledged.
 *
 * usage: guest DISK LOG COUNT direct|buffered DOOR...
 *	DISK	a block device or file of DISK_BYTES, all zeros
 *	LOG	name of the device mapper's log-writes device
 *	COUNT	records by each door
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "record.h"
#include "vmm.h"

#define GROUP	 (MAX_AHEAD / 2) /* records between two flushes */
#define OPS	 (RAM + 0x1000u)
#define INFO	 (RAM + 0x2000u)
#define RING	 (RAM + 0x10000u)
#define REQUESTS (RAM + 0x20000u)
#define DATA	 (RAM + 0x100000u) /* as the disk is: a slot for each slot */

jmp_buf test_failed;

static struct vm vm;
static const char *log_name;

/* ---- Marks ---------------------------------------------------------------------- */

/* All records up to @n are acknowledged: as dmsetup message LOG 0 mark N. */
static void acknowledge(uint64_t n)
{
	static int control = -1;
	struct {
		struct dm_ioctl head;
		uint64_t sector; /* struct dm_target_msg */
		char message[32];
	} mark = {
		.head = { .version = { DM_VERSION_MAJOR },
			  .data_size = sizeof(mark),
			  .data_start = offsetof(typeof(mark), sector) },
	};

	if (control < 0)
		control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	NEED(control >= 0);
	strncpy(mark.head.name, log_name, sizeof(mark.head.name) - 1);
	snprintf(mark.message, sizeof(mark.message), "mark %llu",
		 (unsigned long long)n);
	NEED(!ioctl(control, DM_TARGET_MSG, &mark));
}

/* ---- Records -------------------------------------------------------------------- */

static uint64_t record_sector(uint64_t n)
{
	return record_slot(n) * SLOT_SECTORS;
}

/* Put record @n where the guest writes it from.  Return: that gpa. */
static uint64_t record_make(uint64_t n)
{
	uint64_t gpa = DATA + record_slot(n) * SLOT_BYTES;

	for (uint32_t i = 0; i < record_sectors(n); i++)
		record_fill(n, i, at(&vm, gpa + i * SECTOR_BYTES));
	return gpa;
}

/* The cookie is what the result has to be. */
static struct hcall_op op_write(uint64_t n)
{
	struct hcall_op op = { .number = HCALL_BLOCK_WRITE,
			       .args = { 0, record_sector(n) },
			       .cookie = record_sectors(n) };

	if (record_zeroes(n)) {
		op.number = HCALL_BLOCK_WRITE_ZEROES;
		op.args[2] = record_sectors(n);
	} else {
		op.args[2] = record_make(n);
		op.args[3] = record_sectors(n);
	}
	return op;
}

static const struct hcall_op op_flush = { .number = HCALL_BLOCK_FLUSH };

/* ---- Calls ---------------------------------------------------------------------- */

static void make_call(struct vcpu *vcpu, struct hcall_op op)
{
	call_set(vcpu, op.number, op.args[0], op.args[1], op.args[2],
		 op.args[3]);
	CHECK_EQ(call_run(vcpu), op.cookie);
}

static void write_by_calls(uint64_t first, uint64_t last)
{
	for (uint64_t n = first; n <= last; n++)
		make_call(&vm.vcpu[n % 2], op_write(n));
}

/* WRITEs of two vCPUs, and FLUSH of one. */
static void door_call(uint64_t first, uint64_t last)
{
	for (uint64_t n = first; n <= last; n += GROUP) {
		write_by_calls(n, n + GROUP - 1);
		make_call(&vm.vcpu[0], op_flush);
		acknowledge(n + GROUP - 1);
	}
}

/* A lie, which has to be found. */
static void door_no_flush(uint64_t first, uint64_t last)
{
	for (uint64_t n = first; n <= last; n += GROUP) {
		write_by_calls(n, n + GROUP - 1);
		acknowledge(n + GROUP - 1);
	}
}

/* ---- Batches -------------------------------------------------------------------- */

static void run_batch(struct hcall_op *from, uint32_t count, uint32_t flags)
{
	struct hcall_op *ops = at(&vm, OPS);

	memcpy(ops, from, count * sizeof(*ops));
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, OPS, count, flags,
		      flags ? HCALL_CHANNEL_GUEST : 0),
		 count);
	if (flags)
		CHECK(channel_fires(&vm, HCALL_CHANNEL_GUEST));
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t i = 0; i < count; i++) {
		CHECK(ops[i].flags & HCALL_OP_DONE);
		CHECK_EQ(ops[i].result, ops[i].cookie);
	}
}

/* Chains of WRITEs and a FLUSH behind them. */
static void chains(uint64_t first, uint64_t last, uint32_t flags)
{
	struct hcall_op ops[GROUP + 1];

	for (uint64_t n = first; n <= last; n += GROUP) {
		for (uint32_t i = 0; i < GROUP; i++) {
			ops[i] = op_write(n + i);
			ops[i].flags = HCALL_OP_LINK;
		}
		ops[GROUP] = op_flush;
		run_batch(ops, GROUP + 1, flags);
		acknowledge(n + GROUP - 1);
	}
}

static void door_batch(uint64_t first, uint64_t last)
{
	chains(first, last, 0);
}

static void door_async(uint64_t first, uint64_t last)
{
	chains(first, last, HCALL_BATCH_ASYNC);
}

/*
 * WRITEs in no order, and beside those of the next group the FLUSH, which is for
 * what was answered before.
 */
static void door_async_beside(uint64_t first, uint64_t last)
{
	struct hcall_op ops[GROUP + 1] = { op_flush };
	uint64_t n;

	for (n = first; n <= last; n += GROUP) {
		for (uint32_t i = 0; i < GROUP; i++)
			ops[i + 1] = op_write(n + i);
		run_batch(ops, GROUP + 1, HCALL_BATCH_ASYNC);
		acknowledge(n - 1);
	}
	run_batch(ops, 1, HCALL_BATCH_ASYNC);
	acknowledge(last);
}

/* ---- A virtqueue ---------------------------------------------------------------- */

#define QUEUE_SIZE 64u
#define DISK	   HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, 0)
#define FEATURE(n) (1ull << (n))

/* A request has three descriptors and one of these. */
struct request {
	struct virtio_blk_outhdr head;
	struct virtio_blk_discard_write_zeroes range;
	uint8_t status;
};

static struct {
	struct vring_desc *table;
	struct vring_avail *avail;
	struct vring_used *used;
	struct request *request;
	uint16_t put; /* requests made so far */
	uint16_t got; /* and answered */
} queue;

static void set_status(uint32_t status)
{
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, DISK, status, 0, 0), status);
}

static void queue_start(uint64_t features)
{
	static const struct hcall_virtio_queue info = {
		.size = QUEUE_SIZE,
		.channel = HCALL_CHANNEL_GUEST,
		.desc = RING,
		.driver = RING + 0x1000,
		.device = RING + 0x2000,
	};

	set_status(0);
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_FEATURES, DISK,
		      features | FEATURE(VIRTIO_F_VERSION_1) |
			      FEATURE(VIRTIO_BLK_F_WRITE_ZEROES),
		      0, 0),
		 0);
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
		   VIRTIO_CONFIG_S_FEATURES_OK);
	memset(at(&vm, RING), 0, 0x3000);
	memset(&queue, 0, sizeof(queue));
	queue.table = at(&vm, info.desc);
	queue.avail = at(&vm, info.driver);
	queue.used = at(&vm, info.device);
	queue.request = at(&vm, REQUESTS);
	memcpy(at(&vm, INFO), &info, sizeof(info));
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, DISK, 0, INFO, sizeof(info)), 0);
	set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
		   VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Request number queue.put, with or without data. */
static void queue_put(uint32_t type, uint64_t sector, uint64_t gpa,
		      uint32_t bytes)
{
	uint16_t i = queue.put % (QUEUE_SIZE / 4), d = i * 4;
	struct request *request = &queue.request[i];
	uint64_t gpa_of = REQUESTS + i * sizeof(*request);

	request->head.type = type;
	request->head.sector = sector;
	request->status = 0xee;
	queue.table[d] =
		(struct vring_desc){ gpa_of, sizeof(request->head),
				     VRING_DESC_F_NEXT, bytes ? d + 1 : d + 2 };
	queue.table[d + 1] =
		(struct vring_desc){ gpa, bytes, VRING_DESC_F_NEXT, d + 2 };
	queue.table[d + 2] =
		(struct vring_desc){ gpa_of + offsetof(struct request, status),
				     1, VRING_DESC_F_WRITE, 0 };
	queue.avail->ring[queue.put++ % QUEUE_SIZE] = d;
}

static void queue_write(uint64_t n)
{
	uint16_t i = queue.put % (QUEUE_SIZE / 4);

	if (!record_zeroes(n)) {
		queue_put(VIRTIO_BLK_T_OUT, record_sector(n), record_make(n),
			  record_sectors(n) * SECTOR_BYTES);
		return;
	}
	queue.request[i].range = (struct virtio_blk_discard_write_zeroes){
		.sector = record_sector(n), .num_sectors = record_sectors(n)
	};
	queue_put(VIRTIO_BLK_T_WRITE_ZEROES, 0,
		  REQUESTS + i * sizeof(struct request) +
			  offsetof(struct request, range),
		  sizeof(queue.request[i].range));
}

static void queue_kick(void)
{
	int64_t ret;

	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint16_t *)&queue.avail->idx = queue.put;
	do {
		ret = call(&vm, HCALL_VIRTIO_KICK, DISK, 0, 0, 0);
	} while (ret == -HCALL_EAGAIN || ret == -HCALL_EINTR);
	CHECK_EQ(ret, 0);
}

/* Wait for the next answer.  Return: the number of its request. */
static uint16_t queue_get(void)
{
	volatile uint16_t *idx = &queue.used->idx;
	uint16_t i, n;

	for (int ms = 0; *idx == queue.got && ms < 10000; ms++)
		usleep(1000);
	CHECK(*idx != queue.got);
	atomic_thread_fence(memory_order_seq_cst);
	i = queue.used->ring[queue.got++ % QUEUE_SIZE].id / 4;
	CHECK_EQ(queue.request[i].status, VIRTIO_BLK_S_OK);
	/* There are never more on their way than have numbers of their own. */
	n = queue.put - 1;
	while (n % (QUEUE_SIZE / 4) != i)
		n--;
	return n;
}

static void queue_drain(void)
{
	while (queue.got != queue.put)
		queue_get();
}

/* A FLUSH beside the writes of the next group, for those answered before. */
static void door_queue(uint64_t first, uint64_t last)
{
	uint16_t flush;

	queue_start(FEATURE(VIRTIO_BLK_F_FLUSH));
	for (uint64_t n = first; n <= last + 1; n += GROUP) {
		flush = queue.put;
		queue_put(VIRTIO_BLK_T_FLUSH, 0, 0, 0);
		for (uint32_t i = 0; i < GROUP && n + i <= last; i++)
			queue_write(n + i);
		queue_kick();
		while (queue_get() != flush)
			;
		acknowledge(n - 1);
		queue_drain();
	}
	set_status(0);
}

/* Who cannot ask for a flush is told of a write when it is durable. */
static void write_through(uint64_t first, uint64_t last)
{
	bool answered[QUEUE_SIZE] = {};
	uint16_t request;
	uint64_t acked;

	for (uint64_t n = first; n <= last; n += GROUP) {
		request = queue.put;
		for (uint32_t i = 0; i < GROUP; i++)
			queue_write(n + i);
		queue_kick();
		memset(answered, 0, sizeof(answered));
		acked = 0;
		while (acked < GROUP) {
			answered[(uint16_t)(queue_get() - request)] = true;
			if (!answered[acked])
				continue;
			while (acked < GROUP && answered[acked])
				acked++;
			acknowledge(n + acked - 1);
		}
	}
	set_status(0);
}

static void door_queue_through(uint64_t first, uint64_t last)
{
	queue_start(0);
	write_through(first, last);
}

/* ... or does not want to have to. */
static void door_queue_wce(uint64_t first, uint64_t last)
{
	queue_start(FEATURE(VIRTIO_BLK_F_FLUSH) |
		    FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
	*(uint8_t *)at(&vm, INFO) = 0;
	CHECK_EQ(call(&vm, HCALL_VIRTIO_CONFIG_WRITE, DISK,
		      offsetof(struct virtio_blk_config, wce), INFO, 1),
		 0);
	write_through(first, last);
}

/* ---- All of them ---------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(uint64_t first, uint64_t last);
} doors[] = {
	{ "call", door_call },
	{ "batch", door_batch },
	{ "async", door_async },
	{ "async-beside", door_async_beside },
	{ "queue", door_queue },
	{ "queue-through", door_queue_through },
	{ "queue-wce", door_queue_wce },
	{ "no-flush", door_no_flush },
};

int main(int argc, char **argv)
{
	static uint64_t first = 1;
	static int i;
	uint64_t count;
	unsigned int d;

	NEED(argc > 5);
	log_name = argv[2];
	count = strtoull(argv[3], NULL, 0);
	NEED(count && count % GROUP == 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "disk", argv[1],
		strcmp(argv[4], "direct") ? 0 : KVM_HCALL_ADD_DIRECT);
	if (setjmp(test_failed))
		return 1;
	acknowledge(0);
	for (i = 5; i < argc; i++, first += count) {
		for (d = 0; strcmp(doors[d].name, argv[i]); d++)
			NEED(d + 1 < sizeof(doors) / sizeof(doors[0]));
		printf("records %llu to %llu: %s\n", (unsigned long long)first,
		       (unsigned long long)(first + count - 1), argv[i]);
		doors[d].run(first, first + count - 1);
	}
	vm_free(&vm);
	return 0;
}
