// SPDX-License-Identifier: GPL-2.0
/*
 * Class 7, virtio: the transport, a small driver of split rings for each kind of
 * device, drivers that lie, and what goes on at the same time.
 *
 * Wants the disks of with-disks.  SEED and KICKS are settings of the fuzzer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/input.h>
#include <linux/userfaultfd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "taps.h"
#include "vmm.h"

#define INFO	     (RAM + 0x100u) /* what calls read and write */
#define AREA(i)	     (RAM + 0x10000u + (i)*0x4000u) /* of queue i */
#define INDIRECT     (RAM + 0x80000u)
#define HEAD	     (RAM + 0x90000u) /* a disk's header, and its status */
#define STATUS	     (RAM + 0x90100u)
#define DATA	     (RAM + 0x100000u)
#define BIG	     (RAM + 0x180000u) /* 3 MiB, over RAM2 */

#define BLK	     HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, 0)
#define BLK2	     HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, 1)
#define CONSOLE	     HCALL_VIRTIO_DEV(HCALL_CLASS_CONSOLE, 0)
#define INPUT	     HCALL_VIRTIO_DEV(HCALL_CLASS_INPUT, 0)
#define NET	     HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 0)
#define NET2	     HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 1) /* the fuzzer's */
#define RNG	     HCALL_VIRTIO_RNG

#define BIT(n)	     (1ull << (n))
#define VERSION_1    BIT(VIRTIO_F_VERSION_1)
#define F_INDIRECT   BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define F_EVENT	     BIT(VIRTIO_RING_F_EVENT_IDX)

/* STATUS. */
#define ACKNOWLEDGE  1
#define DRIVER	     2
#define DRIVER_OK    4
#define FEATURES_OK  8
#define NEEDS_RESET  64
#define FAILED	     128
#define SET_UP	     (ACKNOWLEDGE | DRIVER | FEATURES_OK)
#define RUNNING	     (SET_UP | DRIVER_OK)
#define GET	     HCALL_VIRTIO_STATUS_GET

#define DISK_SECTORS 8192ull /* 4 MiB */

static struct vm vm;
static const char *path;

/* ---- The transport ------------------------------------------------------------ */

static int64_t status(uint32_t dev, uint32_t bits)
{
	int64_t ret = -HCALL_EAGAIN;

	/* The features of a tap cannot change that fast. */
	for (int i = 0; i < 5000 && ret == -HCALL_EAGAIN; i++) {
		if (i)
			usleep(1000);
		ret = call(&vm, HCALL_VIRTIO_STATUS, dev, bits, 0, 0);
	}
	return ret;
}

static int64_t features(uint32_t dev, uint64_t bits)
{
	return call(&vm, HCALL_VIRTIO_FEATURES, dev, bits, 0, 0);
}

static struct hcall_virtio_device device(uint32_t dev)
{
	struct hcall_virtio_device info;

	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, dev, INFO, sizeof(info), 0),
		 sizeof(info));
	memcpy(&info, at(&vm, INFO), sizeof(info));
	return info;
}

/* From whatever it is in to where queues can be set. */
static void device_start(uint32_t dev, uint64_t bits)
{
	CHECK_EQ(status(dev, 0), 0);
	CHECK_EQ(status(dev, GET), 0);
	CHECK_EQ(status(dev, ACKNOWLEDGE), ACKNOWLEDGE);
	CHECK_EQ(status(dev, ACKNOWLEDGE | DRIVER), ACKNOWLEDGE | DRIVER);
	CHECK_EQ(features(dev, VERSION_1 | bits), 0);
	CHECK_EQ(status(dev, SET_UP), SET_UP);
}

static void device_go(uint32_t dev)
{
	CHECK_EQ(status(dev, RUNNING), RUNNING);
}

static void config_read(uint32_t dev, uint32_t offset, void *to, uint32_t bytes)
{
	CHECK_EQ(call(&vm, HCALL_VIRTIO_CONFIG_READ, dev, offset, INFO, bytes),
		 0);
	memcpy(to, at(&vm, INFO), bytes);
}

static int64_t config_write(uint32_t dev, uint32_t offset, uint8_t byte)
{
	*(uint8_t *)at(&vm, INFO) = byte;
	return call(&vm, HCALL_VIRTIO_CONFIG_WRITE, dev, offset, INFO, 1);
}

/* ---- Queues ------------------------------------------------------------------- */

struct queue {
	uint32_t dev;
	uint32_t index;
	uint32_t size;
	uint32_t channel;
	uint64_t desc, driver, device;
	struct vring_desc *table;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next; /* of avail */
	uint16_t seen; /* of used */
	uint16_t cursor; /* the next descriptor that is free */
};

struct piece {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
};

#define IN(gpa, len)                         \
	{                                    \
		gpa, len, VRING_DESC_F_WRITE \
	}
#define OUT(gpa, len)       \
	{                   \
		gpa, len, 0 \
	}

static int64_t queue_call(const struct queue *q)
{
	struct hcall_virtio_queue info = {
		.size = q->size,
		.channel = q->channel,
		.desc = q->desc,
		.driver = q->driver,
		.device = q->device,
	};

	memcpy(at(&vm, INFO), &info, sizeof(info));
	return call(&vm, HCALL_VIRTIO_QUEUE, q->dev, q->index, INFO,
		    sizeof(info));
}

static struct queue queue_at(uint32_t dev, uint32_t index, uint32_t size,
			     uint64_t gpa)
{
	struct queue q = {
		.dev = dev,
		.index = index,
		.size = size,
		.channel = HCALL_CHANNEL_GUEST + (dev >> 8) * 16 + index,
		.desc = gpa,
		.driver = gpa + 0x1000,
		.device = gpa + 0x2000,
	};

	q.table = at(&vm, q.desc);
	q.avail = at(&vm, q.driver);
	q.used = at(&vm, q.device);
	memset(q.table, 0, 0x3000);
	CHECK_EQ(queue_call(&q), 0);
	return q;
}

static struct queue queue_new(uint32_t dev, uint32_t index, uint32_t size)
{
	return queue_at(dev, index, size, AREA((dev >> 8) * 2 + index));
}

/* A device of one queue, from the beginning. */
static struct queue start(uint32_t dev, uint32_t size, uint64_t bits)
{
	struct queue q;

	device_start(dev, bits);
	q = queue_new(dev, 0, size);
	device_go(dev);
	usleep(10000); /* a worker looks at it now */
	return q;
}

static void publish(struct queue *q, uint16_t head)
{
	q->avail->ring[q->next % q->size] = head;
	atomic_thread_fence(memory_order_seq_cst);
	q->next++;
	*(volatile uint16_t *)&q->avail->idx = q->next;
	atomic_thread_fence(memory_order_seq_cst);
}

/* A request, in descriptors that nobody uses any more.  Return: its name. */
static uint16_t put(struct queue *q, const struct piece *piece, uint32_t n)
{
	uint16_t head = q->cursor % q->size;

	NEED(n && n <= q->size);
	for (uint32_t i = 0; i < n; i++) {
		uint16_t at = q->cursor++ % q->size;

		q->table[at] = (struct vring_desc){
			.addr = piece[i].gpa,
			.len = piece[i].len,
			.flags = piece[i].flags |
				 (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			.next = q->cursor % q->size,
		};
	}
	publish(q, head);
	return head;
}

/* The same in a table of its own, at INDIRECT + @offset. */
static uint16_t put_indirect(struct queue *q, uint32_t offset,
			     const struct piece *piece, uint32_t n)
{
	struct vring_desc *table = at(&vm, INDIRECT + offset);
	struct piece one = { INDIRECT + offset, n * sizeof(*table),
			     VRING_DESC_F_INDIRECT };

	for (uint32_t i = 0; i < n; i++)
		table[i] = (struct vring_desc){
			.addr = piece[i].gpa,
			.len = piece[i].len,
			.flags = piece[i].flags |
				 (i + 1 < n ? VRING_DESC_F_NEXT : 0),
			.next = i + 1,
		};
	return put(q, &one, 1);
}

static int64_t kick_flags(struct queue *q, uint32_t flags)
{
	return call(&vm, HCALL_VIRTIO_KICK, q->dev, q->index, flags, 0);
}

/* Until there is no more to do. */
static int64_t kick(struct queue *q)
{
	int64_t ret;

	do {
		ret = kick_flags(q, 0);
	} while (ret == -HCALL_EAGAIN || ret == -HCALL_EINTR);
	return ret;
}

static bool answered(const struct queue *q)
{
	bool ret = *(volatile uint16_t *)&q->used->idx != q->seen;

	atomic_thread_fence(memory_order_seq_cst);
	return ret;
}

/* The next answer; waits for it, not longer than ten seconds. */
static struct vring_used_elem answer(struct queue *q)
{
	for (int i = 0; i < 10000 && !answered(q); i++)
		usleep(1000);
	CHECK(answered(q));
	return q->used->ring[q->seen++ % q->size];
}

/* ... which is for @head.  Return: its length. */
static uint32_t answer_for(struct queue *q, uint16_t head)
{
	struct vring_used_elem elem = answer(q);

	CHECK_EQ(elem.id, head);
	return elem.len;
}

/* A request that is answered at once. */
static uint32_t request(struct queue *q, const struct piece *piece, uint32_t n)
{
	uint16_t head = put(q, piece, n);

	CHECK_EQ(kick(q), 0);
	return answer_for(q, head);
}

static uint8_t pattern(uint32_t i)
{
	return i * 7 + (i >> 8) * 13 + (i >> 16);
}

static bool all_are(const void *p, uint8_t byte, uint64_t bytes)
{
	const uint8_t *b = p;

	return b[0] == byte && !memcmp(b, b + 1, bytes - 1);
}

/* ---- Devices ------------------------------------------------------------------ */

static void setup(void)
{
	vm_new(&vm);
	vm_bind(&vm);
}

static const char *need_env(const char *name)
{
	const char *value = getenv(name);

	NEED(value);
	return value;
}

/* Of tmpfs, where each transfer is for workers. */
static void setup_disk(uint32_t flags)
{
	setup();
	path = make_disk("virtio", DISK_SECTORS * 512);
	CHECK_EQ(vm_disk(&vm, "disk", path, flags), 0);
}

/* Of ext4, where what is in memory already is for the vCPU. */
static void setup_ext4(uint32_t flags)
{
	static char name[128];
	char command[300];

	snprintf(name, sizeof(name), "%s/virtio-%d", need_env("HCALL_EXT4"),
		 getpid());
	path = make_disk("virtio", DISK_SECTORS * 512);
	snprintf(command, sizeof(command), "cp %s %s && sync %s", path, name,
		 name);
	NEED(!system(command));
	unlink(path);
	path = name;
	setup();
	CHECK_EQ(vm_disk(&vm, "disk", path, flags), 0);
}

static void teardown(void)
{
	vm_free(&vm);
	if (path && strncmp(path, "/dev/", 5))
		unlink(path);
	path = NULL;
}

static void host_read(uint64_t sector, void *to, uint64_t bytes)
{
	int fd = open(path, O_RDONLY);

	NEED(fd >= 0);
	NEED(pread(fd, to, bytes, sector * 512) == (ssize_t)bytes);
	close(fd);
}

/* Where a byte of guest memory is; of RAM, RAM2 and the tiles. */
static uint8_t *byte_at(uint64_t gpa)
{
	uint64_t i = gpa - TILES;

	if (gpa >= TILES && i < TILES_NR * 4096)
		return &vm.tiles[(TILES_NR - 1 - i / 4096) * 4096 + i % 4096];
	return at(&vm, gpa);
}

static void guest_write(uint64_t gpa, const void *from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		*byte_at(gpa + i) = ((const uint8_t *)from)[i];
}

static void guest_read(uint64_t gpa, void *to, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		((uint8_t *)to)[i] = *byte_at(gpa + i);
}

static void blk_head(uint64_t gpa, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr head = { .type = type, .sector = sector };

	guest_write(gpa, &head, sizeof(head));
}

/* A whole request of a disk, with @data between.  Return: its status. */
static int blk_len(struct queue *q, uint32_t type, uint64_t sector,
		   const struct piece *data, uint32_t n, uint32_t *len)
{
	static struct piece piece[256];
	volatile uint8_t *to = at(&vm, STATUS);
	uint16_t head;

	NEED(n <= 254);
	blk_head(HEAD, type, sector);
	*to = 0xee;
	piece[0] = (struct piece)OUT(HEAD, 16);
	if (n)
		memcpy(piece + 1, data, n * sizeof(*data));
	piece[n + 1] = (struct piece)IN(STATUS, 1);
	head = put(q, piece, n + 2);
	CHECK_EQ(kick(q), 0);
	*len = answer_for(q, head);
	return *to;
}

static int blk(struct queue *q, uint32_t type, uint64_t sector,
	       const struct piece *data, uint32_t n)
{
	uint32_t len, want = 1;
	int ret = blk_len(q, type, sector, data, n, &len);

	for (uint32_t i = 0; i < n; i++) {
		if (data[i].flags & VRING_DESC_F_WRITE)
			want += data[i].len;
	}
	CHECK_EQ(len, want);
	return ret;
}

/* It works. */
static void blk_works(struct queue *q)
{
	struct piece data = IN(DATA, 1024);

	memset(at(&vm, DATA), 0, 1024);
	CHECK_EQ(blk(q, VIRTIO_BLK_T_IN, 11, &data, 1), VIRTIO_BLK_S_OK);
	expect_sector(at(&vm, DATA), 11);
	expect_sector(at(&vm, DATA + 512), 12);
}

static void rng_works(struct queue *q)
{
	struct piece data = IN(DATA, 64);

	memset(at(&vm, DATA), 0, 64);
	CHECK_EQ(request(q, &data, 1), 64);
	CHECK(!all_are(at(&vm, DATA), 0, 64));
}

/* ---- Arguments ---------------------------------------------------------------- */

static const uint32_t numbers[] = {
	HCALL_VIRTIO_DEVICE,	  HCALL_VIRTIO_STATUS, HCALL_VIRTIO_FEATURES,
	HCALL_VIRTIO_QUEUE,	  HCALL_VIRTIO_KICK,   HCALL_VIRTIO_CONFIG_READ,
	HCALL_VIRTIO_CONFIG_WRITE
};

/* Arguments that are right, but for the device. */
static int64_t good_call(enum door door, uint32_t nr, uint64_t dev)
{
	bool info = nr == HCALL_VIRTIO_DEVICE;

	return call_door(&vm, door, nr, dev,
			 info				   ? INFO
			 : nr == HCALL_VIRTIO_STATUS	   ? GET
			 : nr == HCALL_VIRTIO_CONFIG_WRITE ? 32
							   : 0,
			 info			   ? 64
			 : nr == HCALL_VIRTIO_KICK ? 0
						   : INFO,
			 nr == HCALL_VIRTIO_QUEUE ? 40 : 1);
}

static void devices(void)
{
	static const uint64_t bad[] = {
		CONSOLE,
		BLK2,
		BLK | 64,
		BLK | 0xff,
		HCALL_VIRTIO_DEV(HCALL_CLASS_TIMER, 0),
		HCALL_VIRTIO_DEV(HCALL_CLASS_EVENT, 0),
		HCALL_VIRTIO_DEV(HCALL_CLASS_VIRTIO, 0),
		HCALL_VIRTIO_DEV(8, 0),
		HCALL_VIRTIO_DEV(0xff, 0),
		HCALL_VIRTIO_DEV(HCALL_CLASS_SYS, 1),
		0x10000,
		0x10000 | BLK,
		1ull << 32,
		1ull << 32 | BLK,
		-1,
	};
	struct hcall_virtio_device info;

	setup_disk(0);
	for (unsigned int n = 0; n < 7; n++) {
		for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			CHECK_EQ(good_call(DOOR_REGISTER, numbers[n], bad[i]),
				 -HCALL_ENODEV);
	}
	CHECK_EQ(call(&vm, HCALL_NR(HCALL_CLASS_VIRTIO, 7), BLK, 0, 0, 0),
		 -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_VIRTIO, 0, 0, 0), 0x7f);

	memset(at(&vm, INFO), 0xee, 128);
	info = device(RNG);
	CHECK(all_are(at(&vm, INFO + 64), 0xee, 64));
	CHECK_EQ(info.device_id, VIRTIO_ID_RNG);
	CHECK_EQ(info.queues, 1);
	CHECK_EQ(info.max_size, 256);
	CHECK_EQ(info.config_bytes, 0);
	CHECK_EQ(info.features, VERSION_1 | F_INDIRECT | F_EVENT);
	CHECK(info.channel >= 64 && info.channel < HCALL_CHANNEL_GUEST);
	CHECK(all_are(info.reserved, 0, sizeof(info.reserved)));
	info = device(BLK);
	CHECK_EQ(info.device_id, VIRTIO_ID_BLOCK);
	CHECK_EQ(info.queues, MAX_VCPUS);
	CHECK_EQ(info.channel, vm_device(&vm, HCALL_CLASS_BLOCK, 0).channel);

	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, BLK, INFO, 63, 0),
		 -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, BLK, INFO, 0, 0),
		 -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, BLK, INFO, -1, 0), 64);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, BLK, HOLE - 63, 64, 0),
		 -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, BLK, ROM, 64, 0),
		 -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, BLK, -1, 64, 0), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_DEVICE, BLK, RAM2 - 13, 64, 0), 64);
	CHECK(!memcmp(vm.ram + RAM_BYTES - 13, &info, 13));
	CHECK(!memcmp(vm.ram2, (uint8_t *)&info + 13, 64 - 13));
	teardown();
}

static void states(void)
{
	struct queue q;

	setup_disk(0);
	CHECK_EQ(status(BLK, GET), 0);
	CHECK_EQ(status(BLK, GET + 1), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, BLK, 1ull << 32, 0, 0),
		 -HCALL_EINVAL);
	CHECK_EQ(status(BLK, NEEDS_RESET), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, 16), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, 32), -HCALL_EINVAL);
	/* Features, before their time and after it. */
	CHECK_EQ(features(BLK, VERSION_1), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, FEATURES_OK), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, ACKNOWLEDGE), ACKNOWLEDGE);
	CHECK_EQ(features(BLK, VERSION_1), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, ACKNOWLEDGE | DRIVER), ACKNOWLEDGE | DRIVER);
	CHECK_EQ(status(BLK, ACKNOWLEDGE), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, DRIVER), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, ACKNOWLEDGE | DRIVER | DRIVER_OK), -HCALL_EINVAL);
	CHECK_EQ(features(BLK, VERSION_1 | BIT(63)), -HCALL_EINVAL);
	CHECK_EQ(features(BLK, -1), -HCALL_EINVAL);
	CHECK_EQ(features(BLK, F_EVENT), 0);
	/* Without VERSION_1 nothing comes of it. */
	CHECK_EQ(status(BLK, SET_UP), ACKNOWLEDGE | DRIVER);
	CHECK_EQ(status(BLK, RUNNING), ACKNOWLEDGE | DRIVER);
	q = (struct queue){
		BLK,  0,    8, 600, AREA(0), AREA(0) + 0x1000, AREA(1), NULL,
		NULL, NULL, 0, 0,   0
	};
	CHECK_EQ(queue_call(&q), -HCALL_EINVAL);
	CHECK_EQ(kick_flags(&q, 0), -HCALL_EINVAL);
	CHECK_EQ(features(BLK, VERSION_1), 0);
	CHECK_EQ(status(BLK, SET_UP), SET_UP);
	CHECK_EQ(features(BLK, VERSION_1), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, ACKNOWLEDGE | DRIVER), -HCALL_EINVAL);
	CHECK_EQ(kick_flags(&q, 0), -HCALL_EINVAL);
	/* Again, elsewhere, before it runs. */
	q = queue_new(BLK, 0, 16);
	q = queue_new(BLK, 0, 8);
	/* A kick is kept. */
	blk_head(HEAD, VIRTIO_BLK_T_IN, 3);
	put(&q, (struct piece[]){ OUT(HEAD, 16), IN(DATA, 513) }, 2);
	CHECK_EQ(kick_flags(&q, 0), 0);
	CHECK_EQ(kick_flags(&q, HCALL_KICK_TELL), 0);
	usleep(20000);
	CHECK(!answered(&q));
	device_go(BLK);
	CHECK_EQ(answer_for(&q, 0), 513);
	expect_sector(at(&vm, DATA), 3);
	CHECK(channel_fires(&vm, q.channel));
	CHECK_EQ(queue_call(&q), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, SET_UP), -HCALL_EINVAL);
	CHECK_EQ(status(BLK, RUNNING), RUNNING);
	blk_works(&q);
	CHECK_EQ(status(BLK, RUNNING | FAILED), RUNNING | FAILED);
	CHECK_EQ(status(BLK, RUNNING), -HCALL_EINVAL);
	/* Reset: nothing is left of it. */
	CHECK_EQ(status(BLK, 0), 0);
	CHECK_EQ(status(BLK, GET), 0);
	put(&q, (struct piece[]){ OUT(HEAD, 16), IN(DATA, 513) }, 2);
	CHECK_EQ(kick_flags(&q, 0), 0);
	device_start(BLK, 0);
	CHECK_EQ(kick_flags(&q, 0), 0);
	device_go(BLK);
	CHECK_EQ(kick_flags(&q, 0), -HCALL_EINVAL);
	usleep(20000);
	CHECK(!answered(&q));
	q = start(BLK, 8, 0);
	blk_works(&q);
	/* All at once. */
	CHECK_EQ(status(BLK, 0), 0);
	CHECK_EQ(status(BLK, ACKNOWLEDGE | DRIVER), ACKNOWLEDGE | DRIVER);
	CHECK_EQ(features(BLK, VERSION_1), 0);
	CHECK_EQ(status(BLK, RUNNING), RUNNING);
	CHECK_EQ(kick_flags(&q, 0), -HCALL_EINVAL);
	teardown();
}

static void queue_arguments(void)
{
	static const struct {
		uint32_t size, channel;
		uint64_t desc, driver, device, reserved;
		int64_t want;
	} rows[] = {
		{ 8, 600, AREA(0), AREA(1), AREA(2), 0, 0 },
		{ 256, 512, AREA(0), AREA(1), AREA(2), 0, 0 },
		{ 1, 1023, AREA(0), AREA(1), AREA(2), 0, 0 },
		{ 0, 600, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 3, 600, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 512, 600, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 1u << 31, 600, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 8, 511, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 8, 0, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 8, 1024, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 8, -1, AREA(0), AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 8, 600, AREA(0) + 8, AREA(1), AREA(2), 0, -HCALL_EINVAL },
		{ 8, 600, AREA(0), AREA(1) + 1, AREA(2), 0, -HCALL_EINVAL },
		{ 8, 600, AREA(0), AREA(1), AREA(2) + 2, 0, -HCALL_EINVAL },
		{ 8, 600, AREA(0), AREA(1), AREA(2), 1, -HCALL_EINVAL },
		{ 8, 600, AREA(0), AREA(1), AREA(2), 1ull << 63,
		  -HCALL_EINVAL },
		{ 8, 600, AREA(0) + 16, AREA(1) + 2, AREA(2) + 4, 0, 0 },
		/* The same memory for all is a guest's own folly. */
		{ 8, 600, AREA(0), AREA(0), AREA(0), 0, 0 },
		{ 8, 600, HOLE, AREA(1), AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), HOLE, AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), AREA(1), HOLE, 0, -HCALL_EFAULT },
		{ 8, 600, ROM, AREA(1), AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), ROM, AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), AREA(1), ROM, 0, -HCALL_EFAULT },
		{ 8, 600, -16, AREA(1), AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), -2, AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), AREA(1), -4, 0, -HCALL_EFAULT },
		/* Over two memslots, and up to the end of one. */
		{ 8, 600, RAM2 - 112, AREA(1), AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, RAM2 - 128, AREA(1), AREA(2), 0, 0 },
		{ 8, 600, AREA(0), RAM2 - 20, AREA(2), 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), RAM2 - 22, AREA(2), 0, 0 },
		{ 8, 600, AREA(0), AREA(1), RAM2 - 68, 0, -HCALL_EFAULT },
		{ 8, 600, AREA(0), AREA(1), RAM2 - 72, 0, 0 },
		{ 256, 600, TILES, AREA(1), AREA(2), 0, 0 },
		{ 256, 600, TILES + 16, AREA(1), AREA(2), 0, -HCALL_EFAULT },
	};
	static const uint64_t bytes[] = { 0, 1, 39 };
	static const uint64_t beyond[] = { MAX_VCPUS, 16, 1ull << 31,
					   1ull << 32, -1 };
	struct hcall_virtio_queue *info;

	setup_disk(0);
	info = at(&vm, INFO);
	device_start(BLK, 0);
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t got;

		*info = (struct hcall_virtio_queue){
			rows[i].size,	rows[i].channel, rows[i].desc,
			rows[i].driver, rows[i].device,	 rows[i].reserved,
		};
		got = call(&vm, HCALL_VIRTIO_QUEUE, BLK, 1, INFO,
			   sizeof(*info));
		if (got != rows[i].want)
			printf("# row %u\n", i);
		CHECK_EQ(got, rows[i].want);
	}
	*info = (struct hcall_virtio_queue){ 8,	      600,     AREA(0),
					     AREA(1), AREA(2), 0 };
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 0, INFO, 40), 0);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 0, INFO, -1), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 0, INFO, bytes[i]),
			 -HCALL_EINVAL);
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(
			call(&vm, HCALL_VIRTIO_QUEUE, BLK, beyond[i], INFO, 40),
			-HCALL_EINVAL);
		CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, BLK, beyond[i], 0, 0),
			 -HCALL_EINVAL);
	}
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 0, HOLE - 39, 40),
		 -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 0, -1, 40), -HCALL_EFAULT);
	/* It is only read: from ROM, or from two memslots. */
	memcpy(vm.rom, info, 40);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 0, ROM, 40), 0);
	memcpy(vm.ram + RAM_BYTES - 7, info, 7);
	memcpy(vm.ram2, (uint8_t *)info + 7, 33);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 0, RAM2 - 7, 40), 0);
	/* A queue that could not be set is none. */
	info->desc = HOLE;
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, BLK, 2, INFO, 40),
		 -HCALL_EFAULT);
	device_go(BLK);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, BLK, 2, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, BLK, 3, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, BLK, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, BLK, 0, 2, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, BLK, 0, 1ull << 32, 0),
		 -HCALL_EINVAL);
	teardown();
}

static void config(void)
{
	struct virtio_blk_config c;
	const uint32_t all = offsetof(struct virtio_blk_config, unused1) + 3;
	const uint32_t wce = offsetof(struct virtio_blk_config, wce);

	setup_disk(0);
	CHECK_EQ(device(BLK).config_bytes, all);
	device_start(BLK, BIT(VIRTIO_BLK_F_CONFIG_WCE));
	memset(&c, 0xee, sizeof(c));
	config_read(BLK, 0, &c, all);
	CHECK_EQ(c.capacity, DISK_SECTORS);
	CHECK_EQ(c.blk_size, 512);
	CHECK_EQ(c.seg_max, 254);
	CHECK_EQ(c.num_queues, MAX_VCPUS);
	CHECK_EQ(c.wce, 1);
	config_read(BLK, all - 1, &c, 1);
	for (int write = 0; write < 2; write++) {
		uint32_t nr = write ? HCALL_VIRTIO_CONFIG_WRITE
				    : HCALL_VIRTIO_CONFIG_READ;

		CHECK_EQ(call(&vm, nr, BLK, 0, INFO, 0), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, BLK, all, INFO, 1), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, BLK, 0, INFO, all + 1), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, BLK, 1, INFO, all), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, BLK, -1, INFO, 1), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, BLK, -1, INFO, 2), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, BLK, 1, INFO, -1), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, RNG, 0, INFO, 1), -HCALL_EINVAL);
		CHECK_EQ(call(&vm, nr, BLK, wce, HOLE, 1), -HCALL_EFAULT);
		CHECK_EQ(call(&vm, nr, BLK, wce, -1, 1), -HCALL_EFAULT);
	}
	CHECK_EQ(call(&vm, HCALL_VIRTIO_CONFIG_READ, BLK, 0, ROM, 1),
		 -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_CONFIG_READ, BLK, 0, RAM2 - 3, 8), 0);
	/* One byte can be written. */
	CHECK_EQ(call(&vm, HCALL_VIRTIO_CONFIG_WRITE, BLK, wce, INFO, 2),
		 -HCALL_EINVAL);
	CHECK_EQ(config_write(BLK, wce - 1, 0), -HCALL_EINVAL);
	CHECK_EQ(config_write(BLK, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(config_write(BLK, wce, 0), 0);
	config_read(BLK, 0, &c, all);
	CHECK_EQ(c.wce, 0);
	/* A reset forgets it, and without the feature it is not for writing. */
	device_start(BLK, BIT(VIRTIO_BLK_F_FLUSH));
	config_read(BLK, 0, &c, all);
	CHECK_EQ(c.wce, 1);
	CHECK_EQ(config_write(BLK, wce, 0), -HCALL_EINVAL);
	teardown();
}

/* Not in an asynchronous batch; in a synchronous one as anywhere. */
static void doors(void)
{
	volatile struct hcall_op *op;
	struct queue q;

	setup_ext4(0);
	device_start(BLK, BIT(VIRTIO_BLK_F_CONFIG_WCE));
	for (unsigned int n = 0; n < 7; n++) {
		CHECK_EQ(good_call(DOOR_ASYNC, numbers[n], BLK),
			 -HCALL_EOPNOTSUPP);
		CHECK_EQ(good_call(DOOR_ASYNC, numbers[n], BLK2),
			 -HCALL_EOPNOTSUPP);
	}
	q = queue_new(BLK, 0, 8);
	memset(at(&vm, INFO), 0, 64);
	CHECK_EQ(good_call(DOOR_BATCH, HCALL_VIRTIO_DEVICE, BLK), 64);
	CHECK_EQ(good_call(DOOR_BATCH, HCALL_VIRTIO_STATUS, BLK), SET_UP);
	CHECK_EQ(good_call(DOOR_BATCH, HCALL_VIRTIO_FEATURES, BLK),
		 -HCALL_EINVAL);
	CHECK_EQ(good_call(DOOR_BATCH, HCALL_VIRTIO_CONFIG_READ, BLK), 0);
	CHECK_EQ(good_call(DOOR_BATCH, HCALL_VIRTIO_CONFIG_WRITE, BLK), 0);
	device_go(BLK);
	usleep(50000);
	blk_head(HEAD, VIRTIO_BLK_T_IN, 77);
	put(&q, (struct piece[]){ OUT(HEAD, 16), IN(DATA, 513) }, 2);
	/* A kick, and in the same batch a look at its data by a call. */
	op = at(&vm, INFO);
	memset((void *)op, 0, 2 * sizeof(*op));
	op[0].number = HCALL_VIRTIO_KICK;
	op[0].flags = HCALL_OP_LINK;
	op[0].args[0] = BLK;
	op[0].args[2] = HCALL_KICK_TELL;
	op[1].number = HCALL_BLOCK_WRITE;
	op[1].args[1] = 100;
	op[1].args[2] = DATA;
	op[1].args[3] = 1;
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, INFO, 2, 0, 0), 2);
	CHECK_EQ(op[0].result, 1);
	CHECK_EQ(op[1].result, 1);
	CHECK_EQ(answer_for(&q, 0), 513);
	host_read(100, at(&vm, DATA), 512);
	expect_sector(at(&vm, DATA), 77);
	/* The owner's policy is for classes, also behind a queue. */
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_DENY, 0), 0);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, (struct piece[]){ IN(DATA, 512) },
		     1),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_FORWARD, 1), 0);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, (struct piece[]){ IN(DATA, 512) },
		     1),
		 VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_HANDLE, 0), 0);
	blk_works(&q);
	teardown();
}

/* ---- Disks -------------------------------------------------------------------- */

static void host_expect(uint64_t sector, uint64_t as, uint64_t n)
{
	uint8_t data[512];

	for (uint64_t i = 0; i < n; i++) {
		host_read(sector + i, data, 512);
		expect_sector(data, as + i);
	}
}

static void blk_requests_on(void (*setup_on)(uint32_t))
{
	struct piece data[3] = { IN(DATA, 4096), IN(DATA + 0x2001, 512),
				 IN(DATA + 0x3fff, 3584) };
	struct queue q;

	setup_on(0);
	q = start(BLK, 16, BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_MQ));
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 40, data, 3), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 8; i++)
		expect_sector(at(&vm, DATA + i * 512), 40 + i);
	expect_sector(at(&vm, DATA + 0x2001), 48);
	for (int i = 0; i < 7; i++)
		expect_sector(at(&vm, DATA + 0x3fff + i * 512), 49 + i);
	for (int i = 0; i < 3; i++)
		data[i].flags = 0;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 1000, data, 3), VIRTIO_BLK_S_OK);
	host_expect(1000, 40, 16);
	host_expect(999, 999, 1);
	host_expect(1016, 1016, 1);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	/* Its name. */
	memset(at(&vm, DATA), 0xee, 64);
	data[0] = (struct piece)IN(DATA, 20);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_GET_ID, 0, data, 1), VIRTIO_BLK_S_OK);
	CHECK(!strcmp(at(&vm, DATA), "disk"));
	CHECK(all_are(at(&vm, DATA + 4), 0, 16));
	CHECK(all_are(at(&vm, DATA + 20), 0xee, 44));
	data[0].len = 19;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_GET_ID, 0, data, 1), VIRTIO_BLK_S_IOERR);
	/* Nobody knows these. */
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_SCSI_CMD, 0, data, 1),
		 VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(blk(&q, 0x12345678, 0, data, 1), VIRTIO_BLK_S_UNSUPP);
	CHECK_EQ(blk(&q, -1, 0, data, 1), VIRTIO_BLK_S_UNSUPP);
	/* Lengths. */
	data[0].len = 511;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, data, 1), VIRTIO_BLK_S_IOERR);
	data[0].len = 513;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, data, 1), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, NULL, 0), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 0, NULL, 0), VIRTIO_BLK_S_IOERR);
	data[0] = (struct piece)OUT(DATA, 100);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 0, data, 1), VIRTIO_BLK_S_IOERR);
	host_expect(0, 0, 1);
	/* Sectors. */
	data[0] = (struct piece)IN(DATA, 1024);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, DISK_SECTORS - 2, data, 1),
		 VIRTIO_BLK_S_OK);
	expect_sector(at(&vm, DATA + 512), DISK_SECTORS - 1);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, data, 1),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, DISK_SECTORS, data, 1),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, -1, data, 1), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 1ull << 55, data, 1),
		 VIRTIO_BLK_S_IOERR);
	data[0].flags = 0;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, DISK_SECTORS - 1, data, 1),
		 VIRTIO_BLK_S_IOERR);
	host_expect(DISK_SECTORS - 1, DISK_SECTORS - 1, 1);
	/* A part that may not be written to, found before anything is. */
	data[0] = (struct piece)IN(DATA, 512);
	data[1] = (struct piece)IN(ROM, 512);
	memset(at(&vm, DATA), 0xee, 512);
	blk_head(HEAD, VIRTIO_BLK_T_IN, 0);
	put(&q,
	    (struct piece[]){ OUT(HEAD, 16), data[0], data[1], IN(STATUS, 1) },
	    4);
	CHECK_EQ(kick(&q), -HCALL_EIO);
	CHECK(all_are(at(&vm, DATA), 0xee, 512));
	/* Each queue is one. */
	device_start(BLK, BIT(VIRTIO_BLK_F_MQ));
	struct queue two[2] = { queue_new(BLK, 0, 16), queue_new(BLK, 1, 4) };
	device_go(BLK);
	blk_works(&two[1]);
	blk_works(&two[0]);
	teardown();
}

static void blk_requests(void)
{
	blk_requests_on(setup_disk);
	blk_requests_on(setup_ext4);
}

static void expect_pieces(const struct piece *p, uint32_t n, uint64_t sector)
{
	uint8_t data[512];
	uint32_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t b = 0; b < p[i].len; b++) {
			data[at++] = *byte_at(p[i].gpa + b);
			if (at == 512) {
				expect_sector(data, sector++);
				at = 0;
			}
		}
	}
	CHECK_EQ(at, 0);
}

/* Wherever the data is, and in however many pieces. */
static void blk_segments_on(void (*setup_on)(uint32_t))
{
	static struct piece p[256];
	static const uint32_t cut[] = { 1, 511, 513, 7, 4096, 100, 3000, 988 };
	struct queue q;
	uint64_t sector, gpa;
	uint16_t head;
	int n;

	setup_on(0);
	q = start(BLK, 256, F_INDIRECT | BIT(VIRTIO_BLK_F_FLUSH));
	for (int out = 0; out < 2; out++) {
		/* 254 of 512 bytes, from the last page to the first. */
		for (n = 0; n < 254; n++)
			p[n] = (struct piece)IN(DATA + (253 - n) * 4096 + n * 3,
						512);
		for (int i = 0; i < n; i++)
			p[i].flags = out ? 0 : VRING_DESC_F_WRITE;
		CHECK_EQ(blk(&q, out, out ? 4000 : 100, p, n), VIRTIO_BLK_S_OK);
		expect_pieces(p, n, 100);
		/* Of all sizes, over RAM and RAM2, and all tiles. */
		gpa = RAM2 - 5000;
		for (n = 0; n < 8; n++) {
			p[n] = (struct piece)IN(gpa, cut[n]);
			gpa += cut[n] + 1;
		}
		p[n++] = (struct piece)IN(TILES + 5, 15 * 4096);
		p[n++] = (struct piece)IN(TILES + 5 + 15 * 4096, 4091);
		p[n++] = (struct piece)IN(DATA, 5);
		sector = 0;
		for (int i = 0; i < n; i++) {
			p[i].flags = out ? 0 : VRING_DESC_F_WRITE;
			sector += p[i].len;
		}
		p[n] = (struct piece)IN(DATA + 4096, 512 - sector % 512);
		p[n].flags = p[0].flags;
		n++;
		CHECK_EQ(blk(&q, out, out ? 5000 : 1000, p, n),
			 VIRTIO_BLK_S_OK);
		expect_pieces(p, n, 1000);
	}
	host_expect(4000, 100, 254);
	host_expect(5000, 1000, 140);
	/* The longest, in tiles only: more pieces of memory than descriptors. */
	for (n = 0; n < 253; n++)
		p[n] = (struct piece)IN(TILES + 7, 15 * 4096);
	p[n++] = (struct piece)IN(DATA, 4096 - 253 * 15 * 4096 % 4096);
	/* An iterator of 264 pieces is too short for it, and a disk of 4 MiB. */
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, p, 20), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 15 * 4096; i += 512) {
		uint8_t data[512];

		guest_read(TILES + 7 + i, data, 512);
		expect_sector(data, 19 * 120 + i / 512);
	}
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, p, n), VIRTIO_BLK_S_IOERR);
	/* Header and status in pieces, and between others. */
	blk_head(RAM2 - 9, VIRTIO_BLK_T_IN, 23);
	blk_head(HEAD, VIRTIO_BLK_T_IN, 23);
	head = put_indirect(&q, 0,
			    (struct piece[]){
				    OUT(HEAD, 1),
				    OUT(HEAD + 1, 2),
				    OUT(RAM2 - 6, 13),
				    OUT(ROM, 4096),
				    IN(DATA, 510),
				    IN(RAM2 - 1, 3),
			    },
			    6);
	CHECK_EQ(kick(&q), 0);
	CHECK_EQ(answer_for(&q, head), 513);
	guest_read(RAM2 - 1, at(&vm, DATA + 510), 2);
	expect_sector(at(&vm, DATA), 23);
	CHECK_EQ(*vm.ram2, ((uint8_t *)at(&vm, DATA))[511]);
	CHECK_EQ(vm.ram2[1], VIRTIO_BLK_S_OK);
	/* Over 1 MiB: 3 MiB of RAM and RAM2, in and out. */
	for (int i = 0; i < 3 << 20; i++)
		*byte_at(BIG + i) = pattern(i);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 2048,
		     (struct piece[]){ OUT(BIG, 3 << 20) }, 1),
		 VIRTIO_BLK_S_OK);
	for (int i = 0; i < 3 << 20; i++)
		*byte_at(BIG + i) = 0;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 2048,
		     (struct piece[]){ IN(BIG, 3 << 20) }, 1),
		 VIRTIO_BLK_S_OK);
	for (int i = 0; i < 3 << 20; i++)
		CHECK_EQ(*byte_at(BIG + i), pattern(i));
	/* Over 4 MiB, which is for a worker: the same sector again and again. */
	for (n = 0; n < 2; n++)
		p[n] = (struct piece)IN(BIG, 3 << 20);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, p, 1), VIRTIO_BLK_S_OK);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, p, 2), VIRTIO_BLK_S_IOERR);
	teardown();
}

static void blk_segments(void)
{
	blk_segments_on(setup_disk);
	blk_segments_on(setup_ext4);
}

static void blk_ranges_on(void (*setup_on)(uint32_t))
{
	static uint8_t data[64 * 512];
	struct virtio_blk_discard_write_zeroes *r;
	struct piece ranges = OUT(DATA, 0);
	struct queue q;

	setup_on(0);
	q = start(BLK, 16,
		  BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	r = at(&vm, DATA);
	for (int i = 0; i < 17; i++)
		r[i] = (struct virtio_blk_discard_write_zeroes){
			.sector = 100 + i * 64,
			.num_sectors = i,
			.flags = i % 2,
		};
	ranges.len = 17 * 16;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1),
		 VIRTIO_BLK_S_IOERR);
	ranges.len = 0;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, NULL, 0),
		 VIRTIO_BLK_S_IOERR);
	ranges.len = 15;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1),
		 VIRTIO_BLK_S_IOERR);
	host_expect(0, 0, DISK_SECTORS);
	ranges.len = 16 * 16;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1),
		 VIRTIO_BLK_S_OK);
	for (int i = 0; i < 16; i++) {
		host_read(100 + i * 64, data, sizeof(data));
		CHECK(!i || all_are(data, 0, i * 512));
		for (int s = i; s < 64; s++)
			expect_sector(data + s * 512, 100 + i * 64 + s);
	}
	/* Beyond the end: those before are done. */
	r[0] = (struct virtio_blk_discard_write_zeroes){ 4000, 8, 0 };
	r[1] = (struct virtio_blk_discard_write_zeroes){ DISK_SECTORS - 4, 5,
							 0 };
	ranges.len = 32;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1),
		 VIRTIO_BLK_S_IOERR);
	host_read(4000, data, 8 * 512);
	CHECK(all_are(data, 0, 8 * 512));
	host_expect(DISK_SECTORS - 4, DISK_SECTORS - 4, 4);
	r[1] = (struct virtio_blk_discard_write_zeroes){ -1, -1, 0 };
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1),
		 VIRTIO_BLK_S_IOERR);
	r[1] = (struct virtio_blk_discard_write_zeroes){ 0, 0x200001, 0 };
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1),
		 VIRTIO_BLK_S_IOERR);
	r[0].flags = 2;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &ranges, 1),
		 VIRTIO_BLK_S_UNSUPP);
	r[0] = (struct virtio_blk_discard_write_zeroes){ 4100, 8, 1 };
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_DISCARD, 0, &ranges, 1),
		 VIRTIO_BLK_S_UNSUPP);
	r[0] = (struct virtio_blk_discard_write_zeroes){ 4100, 300, 0 };
	r[1] = (struct virtio_blk_discard_write_zeroes){ 5000, 300, 0 };
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_DISCARD, 0, &ranges, 1), VIRTIO_BLK_S_OK);
	host_expect(4099, 4099, 1);
	host_expect(4400, 4400, 600);
	host_expect(5300, 5300, 100);
	teardown();
}

static void blk_ranges(void)
{
	blk_ranges_on(setup_disk);
	blk_ranges_on(setup_ext4);
}

static void blk_readonly(void)
{
	struct virtio_blk_discard_write_zeroes range = { 1, 1, 0 };
	struct piece data = OUT(DATA, 512);
	struct queue q;

	setup_disk(KVM_HCALL_ADD_READONLY);
	CHECK(device(BLK).features & BIT(VIRTIO_BLK_F_RO));
	CHECK(!(device(BLK).features &
		(BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) |
		 BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES))));
	q = start(BLK, 8, BIT(VIRTIO_BLK_F_RO));
	blk_works(&q);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 1, &data, 1), VIRTIO_BLK_S_IOERR);
	memcpy(at(&vm, DATA), &range, 16);
	data.len = 16;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_DISCARD, 0, &data, 1),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &data, 1),
		 VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	host_expect(0, 0, 3);
	teardown();
}

/* A write is followed by a flush if the driver cannot, or does not want to. */
static void blk_through(void)
{
	static const struct {
		uint64_t bits;
		int wce, calls;
	} rows[] = {
		{ BIT(VIRTIO_BLK_F_FLUSH), -1, 1 },
		{ 0, -1, 2 },
		{ BIT(VIRTIO_BLK_F_CONFIG_WCE), 1, 1 },
		{ BIT(VIRTIO_BLK_F_CONFIG_WCE), 0, 2 },
		{ BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_FLUSH), 0,
		  2 },
	};
	struct virtio_blk_discard_write_zeroes range = { 9, 1, 0 };
	struct piece data = OUT(DATA, 512), zeroes = OUT(DATA, 16);

	setup_disk(0);
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct queue q = start(BLK, 8, rows[i].bits);
		uint64_t before = vm_stats(&vm, HCALL_CLASS_BLOCK).calls;

		if (rows[i].wce >= 0)
			CHECK_EQ(config_write(BLK,
					      offsetof(struct virtio_blk_config,
						       wce),
					      rows[i].wce),
				 0);
		CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 9, &data, 1),
			 VIRTIO_BLK_S_OK);
		CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).calls - before,
			 rows[i].calls);
		memcpy(at(&vm, DATA), &range, 16);
		CHECK_EQ(blk(&q, VIRTIO_BLK_T_WRITE_ZEROES, 0, &zeroes, 1),
			 VIRTIO_BLK_S_OK);
		CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).calls - before,
			 rows[i].calls * 2);
	}
	teardown();
}

/* Whose answers come from workers, in any order. */
static void setup_direct(void)
{
	setup_ext4(KVM_HCALL_ADD_DIRECT);
}

static void frozen(bool on)
{
	int fd = open(need_env("HCALL_EXT4"), O_RDONLY);

	NEED(fd >= 0);
	NEED(!ioctl(fd, on ? FIFREEZE : FITHAW, 0));
	close(fd);
}

/* Request i of many: 16 KiB from sector i * 32, with its own header and status. */
#define MANY_BYTES 0x4000u
#define MANY(i)	   (DATA + 0x10000u + (i)*MANY_BYTES)
#define MANY_MAX   128

static uint16_t put_many(struct queue *q, int i, uint32_t type)
{
	uint64_t head = HEAD + 0x1000 + i * 32;

	blk_head(head, type, i * 32);
	((uint8_t *)at(&vm, head))[16] = 0xee;
	return put(q,
		   (struct piece[]){
			   OUT(head, 16),
			   { MANY(i), MANY_BYTES,
			     type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0 },
			   IN(head + 16, 1) },
		   3);
}

static uint8_t many_status(int i)
{
	return *(volatile uint8_t *)at(&vm, HEAD + 0x1000 + i * 32 + 16);
}

static void blk_workers(void)
{
	bool seen[MANY_MAX] = {};
	struct queue q;
	int order = 0, n = 80;
	uint16_t slow;

	setup_direct();
	q = start(BLK, 256, BIT(VIRTIO_BLK_F_FLUSH));
	for (int i = 0; i < n; i++)
		CHECK_EQ(put_many(&q, i, VIRTIO_BLK_T_IN), i * 3);
	CHECK_EQ(kick(&q), 0);
	CHECK(channel_fires(&vm, q.channel));
	for (int i = 0; i < n; i++) {
		struct vring_used_elem e = answer(&q);

		CHECK(e.id % 3 == 0 && e.id / 3 < (uint32_t)n &&
		      !seen[e.id / 3]);
		CHECK_EQ(e.len, MANY_BYTES + 1);
		CHECK_EQ(many_status(e.id / 3), VIRTIO_BLK_S_OK);
		seen[e.id / 3] = true;
		order += e.id / 3 != (uint32_t)i;
		for (int s = 0; s < 32; s++)
			expect_sector(at(&vm, MANY(e.id / 3) + s * 512),
				      e.id / 3 * 32 + s);
	}
	printf("# %d of %d out of order\n", order, n);
	/* A write that waits is overtaken by a read. */
	frozen(true);
	q.cursor = 0;
	slow = put_many(&q, 0, VIRTIO_BLK_T_OUT);
	CHECK_EQ(kick(&q), 0);
	usleep(50000);
	CHECK(!answered(&q));
	channel_take(&vm, q.channel);
	CHECK_EQ(put_many(&q, 1, VIRTIO_BLK_T_IN), 3);
	CHECK_EQ(kick_flags(&q, HCALL_KICK_TELL), 0);
	CHECK_EQ(answer_for(&q, 3), MANY_BYTES + 1);
	CHECK(channel_fires(&vm, q.channel));
	CHECK(!answered(&q));
	frozen(false);
	CHECK_EQ(answer_for(&q, slow), 1);
	CHECK(channel_fires(&vm, q.channel));
	/* Memory of no alignment goes by a buffer of the host's. */
	blk_head(HEAD, VIRTIO_BLK_T_IN, 9);
	put(&q, (struct piece[]){ OUT(HEAD, 16), IN(DATA + 3, 513) }, 2);
	CHECK_EQ(kick(&q), 0);
	CHECK_EQ(answer(&q).len, 513);
	expect_sector(at(&vm, DATA + 3), 9);
	teardown();
}

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);

	NEED(fd >= 0 && write(fd, text, strlen(text)) > 0);
	close(fd);
}

static void blk_resize_to(uint64_t sectors)
{
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_BLOCK };

	NEED(!truncate(path, sectors * 512));
	NEED(!ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize));
}

/*
 * Of more and longer requests than workers may have one is the vCPU's, which can be
 * interrupted all the same.
 */
static void blk_long(void)
{
	const uint64_t bytes = RAM2_BYTES;
	struct vcpu *vcpu = &vm.vcpu[1];
	struct piece piece[256];
	struct queue q;

	setup_disk(0);
	blk_resize_to(254 * bytes / 512);
	q = start(BLK, 1, F_INDIRECT);
	blk_head(HEAD, VIRTIO_BLK_T_IN, 0);
	piece[0] = (struct piece)OUT(HEAD, 16);
	for (int i = 0; i < 254; i++)
		piece[1 + i] = (struct piece)IN(RAM2, bytes);
	piece[255] = (struct piece)IN(STATUS, 1);
	for (int i = 0; i < MAX_VCPUS; i++) {
		put_indirect(&q, 0, piece, 256);
		CHECK_EQ(kick(&q), 0);
	}
	put_indirect(&q, 0, piece, 256);
	call_start(vcpu, HCALL_VIRTIO_KICK, BLK, 0, 0, 0);
	/* A slow host takes its time to begin. */
	while (thread_ns(vcpu->thread) < 30000000)
		usleep(1000);
	call_interrupt(vcpu);
	CHECK_EQ(call_run(vcpu), -HCALL_EINTR);
	/* None of them is kept for long by what it has begun. */
	CHECK_EQ(status(BLK, 0), 0);
	q = start(BLK, 8, 0);
	blk_works(&q);
	teardown();
}

/* Kernel memory that is not given back for want of it, in KiB. */
static long kernel_kib(void)
{
	FILE *from = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1;

	/* Each CPU has counted a little for itself. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	NEED(from);
	while (kib < 0 && fgets(line, sizeof(line), from))
		sscanf(line, "SUnreclaim: %ld kB", &kib);
	fclose(from);
	NEED(kib >= 0);
	return kib;
}

/*
 * A request that workers have is gone from the host's memory when it is answered:
 * so many at a time as there are descriptors, and not so many in a second.
 */
static void blk_memory(void)
{
	const int n = 480; /* fewer than what RCU takes for many */
	struct piece piece[256];
	struct queue q;
	long before, more;

	setup_disk(0);
	q = start(BLK, 16, F_INDIRECT);
	blk_head(HEAD, VIRTIO_BLK_T_IN, 3);
	piece[0] = (struct piece)OUT(HEAD, 16);
	for (int i = 0; i < 254; i++)
		piece[1 + i] = (struct piece)IN(DATA + 2 * i, i < 253 ? 2 : 6);
	piece[255] = (struct piece)IN(STATUS, 1);
	before = kernel_kib();
	for (int i = 0; i < n; i += 16) {
		for (int k = 0; k < 16; k++)
			put_indirect(&q, k * 0x1000, piece, 256);
		CHECK_EQ(kick(&q), 0);
		for (int k = 0; k < 16; k++)
			CHECK_EQ(answer(&q).len, 513);
		CHECK_EQ(*(uint8_t *)at(&vm, STATUS), VIRTIO_BLK_S_OK);
	}
	more = kernel_kib() - before;
	printf("# %d requests, %ld KiB\n", n, more);
	CHECK(more < 2048);
	expect_sector(at(&vm, DATA), 3);
	teardown();
}

static void expect_capacity(uint64_t sectors)
{
	struct virtio_blk_config c;

	CHECK(channel_fires(&vm, device(BLK).channel));
	config_read(BLK, 0, &c, 8);
	CHECK_EQ(c.capacity, sectors);
	CHECK_EQ(status(BLK, GET), RUNNING);
}

static void blk_resize_on(void (*set_up)(uint32_t flags), uint32_t flags)
{
	struct piece data = IN(DATA, 1024);
	struct queue q;

	set_up(flags);
	q = start(BLK, 8, 0);
	channel_take(&vm, device(BLK).channel);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, DISK_SECTORS, &data, 1),
		 VIRTIO_BLK_S_IOERR);
	blk_resize_to(2 * DISK_SECTORS);
	expect_capacity(2 * DISK_SECTORS);
	memset(at(&vm, DATA), 0xee, 1024);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 2 * DISK_SECTORS - 2, &data, 1),
		 VIRTIO_BLK_S_OK);
	CHECK(all_are(at(&vm, DATA), 0, 1024));
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 2 * DISK_SECTORS - 1, &data, 1),
		 VIRTIO_BLK_S_IOERR);
	blk_works(&q);
	blk_resize_to(64);
	expect_capacity(64);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 63, &data, 1), VIRTIO_BLK_S_IOERR);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 64, &data, 1), VIRTIO_BLK_S_IOERR);
	data.flags = 0;
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 64, &data, 1), VIRTIO_BLK_S_IOERR);
	blk_works(&q);
	teardown();
}

static void blk_resize(void)
{
	blk_resize_on(setup_disk, 0);
	blk_resize_on(setup_disk, KVM_HCALL_ADD_READONLY);
	blk_resize_on(setup_ext4, 0);
	blk_resize_on(setup_ext4, KVM_HCALL_ADD_DIRECT);
}

static atomic_bool resizing;
static atomic_long resizes;

static void *resize_often(void *unused)
{
	(void)unused;
	while (resizing) {
		blk_resize_to(1024);
		blk_resize_to(2 * DISK_SECTORS);
		resizes++;
	}
	return NULL;
}

/* The disk is cut and grows below requests that vCPU or workers have. */
static void blk_resize_in_flight(void)
{
	long ok = 0, failed = 0;
	pthread_t thread;
	struct queue q;
	const int n = 80;

	setup_direct();
	q = start(BLK, 256, 0);
	resizing = true;
	resizes = 0;
	NEED(!pthread_create(&thread, NULL, resize_often, NULL));
	for (int round = 0; round < 40 || !ok || !failed || resizes < 20;
	     round++) {
		NEED(round < 1000);
		q.cursor = 0;
		for (int i = 0; i < n; i++)
			put_many(&q, i, VIRTIO_BLK_T_IN);
		CHECK_EQ(kick(&q), 0);
		for (int i = 0; i < n; i++)
			CHECK_EQ(answer(&q).len, MANY_BYTES + 1);
		for (int i = 0; i < n; i++) {
			/* Those of the first 1024 sectors never go. */
			if (many_status(i) == VIRTIO_BLK_S_OK && i >= 32)
				ok++;
			else if (i >= 32)
				failed++;
			if (i < 32 || many_status(i) != VIRTIO_BLK_S_IOERR)
				CHECK_EQ(many_status(i), VIRTIO_BLK_S_OK);
		}
	}
	resizing = false;
	NEED(!pthread_join(thread, NULL));
	printf("# %ld times; %ld requests were in time, %ld were not\n",
	       resizes, ok, failed);
	expect_capacity(2 * DISK_SECTORS);
	blk_works(&q);
	q.cursor = 0;
	put_many(&q, 40, VIRTIO_BLK_T_IN);
	CHECK_EQ(kick(&q), 0);
	CHECK_EQ(answer(&q).len, MANY_BYTES + 1);
	CHECK_EQ(many_status(40), VIRTIO_BLK_S_OK);
	teardown();
}

/* ---- Console and entropy ------------------------------------------------------- */

static int to_guest = -1, from_guest = -1; /* pipes */

static void setup_console(int bytes)
{
	int in[2], out[2];

	setup();
	NEED(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	NEED(fcntl(out[1], F_SETPIPE_SZ, bytes) >= 0);
	NEED(!fcntl(out[0], F_SETFL, O_NONBLOCK));
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "con", out[1], in[0], 0), 0);
	close(in[0]);
	close(out[1]);
	to_guest = in[1];
	from_guest = out[0];
}

static void teardown_pipes(void)
{
	teardown();
	close(to_guest);
	close(from_guest);
}

static void fill_pattern(uint64_t gpa, uint32_t from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		*(uint8_t *)at(&vm, gpa + i) = pattern(from + i);
}

static void console(void)
{
	struct virtio_console_config c = {};
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_CONSOLE,
					   .columns = 132,
					   .rows = 43 };
	struct queue rx, tx;
	char text[64] = {};
	uint16_t head;

	setup_console(4096);
	CHECK_EQ(device(CONSOLE).device_id, VIRTIO_ID_CONSOLE);
	device_start(CONSOLE, BIT(VIRTIO_CONSOLE_F_SIZE));
	rx = queue_new(CONSOLE, 0, 8);
	tx = queue_new(CONSOLE, 1, 8);
	device_go(CONSOLE);
	config_read(CONSOLE, 0, &c, 4);
	CHECK_EQ(c.cols, 0);
	channel_take(&vm, device(CONSOLE).channel);
	NEED(!ioctl(vm.hcall, KVM_HCALL_RESIZE, &resize));
	CHECK(channel_fires(&vm, device(CONSOLE).channel));
	config_read(CONSOLE, 0, &c, 4);
	CHECK_EQ(c.cols, 132);
	CHECK_EQ(c.rows, 43);

	/* Out, in pieces. */
	memcpy(at(&vm, DATA), "hello, ", 7);
	guest_write(RAM2 - 2, "world", 5);
	CHECK_EQ(request(&tx,
			 (struct piece[]){ OUT(DATA, 7), OUT(RAM2 - 2, 5) }, 2),
		 0);
	CHECK_EQ(read(from_guest, text, sizeof(text)), 12);
	CHECK(!memcmp(text, "hello, world", 12));
	/* In: what is there, and what comes. */
	NEED(write(to_guest, "abc", 3) == 3);
	CHECK_EQ(request(&rx, (struct piece[]){ IN(DATA, 2), IN(RAM2, 64) }, 2),
		 3);
	CHECK(!memcmp(at(&vm, DATA), "ab", 2) && vm.ram2[0] == 'c');
	head = put(&rx, (struct piece[]){ IN(DATA, 4) }, 1);
	put(&rx, (struct piece[]){ IN(DATA + 4, 60) }, 1);
	CHECK_EQ(kick(&rx), 0);
	CHECK(!answered(&rx));
	channel_take(&vm, rx.channel);
	NEED(write(to_guest, "defghi", 6) == 6);
	CHECK(channel_fires(&vm, rx.channel));
	CHECK_EQ(answer_for(&rx, head), 4);
	CHECK_EQ(answer(&rx).len, 2);
	CHECK(!memcmp(at(&vm, DATA), "defghi", 6));
	/* No buffers: the input waits. */
	NEED(write(to_guest, "xyz", 3) == 3);
	usleep(20000);
	CHECK(!answered(&rx));
	CHECK_EQ(request(&rx, (struct piece[]){ IN(DATA, 64) }, 1), 3);
	CHECK(!memcmp(at(&vm, DATA), "xyz", 3));
	/* Nobody writes any more: there is nothing, and all else works. */
	put(&rx, (struct piece[]){ IN(DATA, 64) }, 1);
	CHECK_EQ(kick(&rx), 0);
	close(to_guest);
	to_guest = -1;
	usleep(50000);
	CHECK_EQ(kick(&rx), 0);
	CHECK(!answered(&rx));
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(DATA, 3) }, 1), 0);
	CHECK_EQ(read(from_guest, text, sizeof(text)), 3);
	/* Nor does anybody read: it is gone. */
	close(from_guest);
	from_guest = -1;
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(DATA, 3) }, 1), 0);
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(DATA, 3) }, 1), 0);
	CHECK_EQ(status(CONSOLE, GET), RUNNING);
	teardown();
}

/* What finds no room is written later, in order, once. */
static void console_full(void)
{
	static uint8_t got[1 << 20];
	const uint32_t all = 300000;
	uint32_t n = 0, sent = 0;
	struct queue tx;

	setup_console(4096);
	device_start(CONSOLE, F_INDIRECT);
	tx = queue_new(CONSOLE, 1, 8);
	device_go(CONSOLE);
	fill_pattern(DATA, 0, all);
	/* One request of 200000 bytes in three pieces, and small ones behind. */
	put(&tx,
	    (struct piece[]){ OUT(DATA, 70001), OUT(DATA + 70001, 29999),
			      OUT(DATA + 100000, 100000) },
	    3);
	put(&tx, (struct piece[]){ OUT(DATA + 200000, 1) }, 1);
	put(&tx, (struct piece[]){ OUT(DATA + 200001, 99999) }, 1);
	CHECK_EQ(kick(&tx), 0);
	CHECK(!answered(&tx));
	channel_take(&vm, tx.channel);
	for (int idle = 0; n < all && idle < 5000;) {
		ssize_t ret = read(from_guest, got + n,
				   n < 20000 ? 1 + n % 100 : 3001);

		if (ret > 0) {
			n += ret;
			idle = 0;
		} else {
			CHECK(ret < 0 && errno == EAGAIN);
			usleep(1000);
			idle++;
		}
		/* In between the guest kicks as well. */
		if (sent++ % 16 == 0)
			CHECK_EQ(kick(&tx), 0);
	}
	CHECK_EQ(n, all);
	CHECK(channel_fires(&vm, tx.channel));
	CHECK_EQ(answer_for(&tx, 0), 0);
	CHECK_EQ(answer_for(&tx, 3), 0);
	CHECK_EQ(answer_for(&tx, 4), 0);
	for (uint32_t i = 0; i < all; i++)
		CHECK_EQ(got[i], pattern(i));
	usleep(20000);
	CHECK(read(from_guest, got, 1) < 0 && errno == EAGAIN);
	/* A reset in the middle forgets the rest, and where it was. */
	put(&tx, (struct piece[]){ OUT(DATA, 100000) }, 1);
	CHECK_EQ(kick(&tx), 0);
	CHECK(!answered(&tx));
	device_start(CONSOLE, 0);
	while (read(from_guest, got, sizeof(got)) > 0)
		;
	usleep(20000);
	CHECK(read(from_guest, got, 1) < 0 && errno == EAGAIN);
	tx = queue_new(CONSOLE, 1, 8);
	device_go(CONSOLE);
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(DATA, 10) }, 1), 0);
	CHECK_EQ(read(from_guest, got, sizeof(got)), 10);
	CHECK(!memcmp(got, at(&vm, DATA), 10));
	teardown_pipes();
}

/* A kick ends after 4 MiB also in the middle of a request, and goes on there. */
static void console_big(void)
{
	const uint32_t piece = 3 << 20, pieces = 7, most = (4 << 20) + 65536;
	char name[] = "/tmp/hcall-console-XXXXXX";
	int fd = mkstemp(name), kicks = 0;
	uint64_t bytes = 0, before;
	struct piece all[7];
	struct stat st;
	struct queue tx;
	uint8_t got;
	int64_t ret;

	NEED(fd >= 0 && !unlink(name));
	NEED(!fcntl(fd, F_SETFL, O_APPEND));
	setup();
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "con", fd, -1, 0), 0);
	device_start(CONSOLE, 0);
	tx = queue_new(CONSOLE, 1, 8);
	device_go(CONSOLE);
	fill_pattern(DATA, 0, piece);
	for (uint32_t i = 0; i < pieces; i++)
		all[i] = (struct piece)OUT(DATA, piece);
	put(&tx, all, pieces);
	do {
		before = bytes;
		ret = kick_flags(&tx, 0);
		NEED(!fstat(fd, &st));
		bytes = st.st_size;
		CHECK(bytes - before <= most);
		CHECK_EQ(answered(&tx), ret != -HCALL_EINTR);
		kicks++;
	} while (ret == -HCALL_EINTR);
	CHECK_EQ(kick(&tx), 0);
	CHECK(kicks >= 5);
	CHECK_EQ(bytes, (uint64_t)pieces * piece);
	for (uint64_t i = 0; i < bytes; i += 4099) {
		NEED(pread(fd, &got, 1, i) == 1);
		CHECK_EQ(got, pattern(i % piece));
	}
	teardown();
	close(fd);
}

static void rng(void)
{
	struct queue q;

	setup();
	q = start(RNG, 8, 0);
	rng_works(&q);
	memset(at(&vm, DATA), 0, 0x4000);
	CHECK_EQ(request(&q,
			 (struct piece[]){ IN(DATA, 100), IN(RAM2 - 50, 100),
					   IN(DATA + 100, 0x2000) },
			 3),
		 4096);
	CHECK(!all_are(at(&vm, DATA + 3900), 0, 90));
	CHECK(!all_are(vm.ram2, 0, 50));
	CHECK(all_are(at(&vm, DATA + 4096 - 100), 0, 0x2000));
	/* Denied: it gives nothing, and lives. */
	CHECK_EQ(request(&q, (struct piece[]){ IN(DATA, 1) }, 1), 1);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).errors, 0);
	teardown();
}

/* ---- Input --------------------------------------------------------------------- */

static struct kvm_hcall_input description;

static void add_input(int fd, int fd_in)
{
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_INPUT,
		.fd = fd,
		.fd_in = fd_in,
		.name = "kbd",
		.input = (uintptr_t)&description,
	};

	memset(&description, 0, sizeof(description));
	strcpy(description.name, "terminal");
	description.bustype = 6;
	memset(description.codes[EV_KEY], 0xfe, 8);
	description.codes[EV_LED][0] = 7;
	CHECK_EQ(vm_add_device(&vm, &add), 0);
}

static void type(uint16_t code, uint32_t value)
{
	struct hcall_input_event e[2] = { { EV_KEY, code, value },
					  { EV_SYN, SYN_REPORT, 0 } };

	NEED(write(to_guest, e, sizeof(e)) == sizeof(e));
}

static bool event_is(uint64_t gpa, uint16_t t, uint16_t code, uint32_t value)
{
	struct hcall_input_event e;

	guest_read(gpa, &e, sizeof(e));
	return e.type == t && e.code == code && e.value == value;
}

static void input(void)
{
	struct hcall_input_event led[2] = { { EV_LED, LED_CAPSL, 1 },
					    { EV_SYN, SYN_REPORT, 0 } };
	struct hcall_input_event e[600];
	struct queue events, lights;
	uint8_t name[200];
	int in[2], out[2];

	setup();
	NEED(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	NEED(fcntl(out[1], F_SETPIPE_SZ, 4096) >= 0);
	NEED(!fcntl(out[0], F_SETFL, O_NONBLOCK));
	add_input(out[1], in[0]);
	close(in[0]);
	close(out[1]);
	to_guest = in[1];
	from_guest = out[0];

	CHECK_EQ(device(INPUT).device_id, VIRTIO_ID_INPUT);
	device_start(INPUT, 0);
	events = queue_new(INPUT, 0, 16);
	lights = queue_new(INPUT, 1, 8);
	device_go(INPUT);
	/* What is it? */
	CHECK_EQ(config_write(INPUT, 0, HCALL_INPUT_NAME), 0);
	config_read(INPUT, 0, name, 136);
	CHECK_EQ(name[2], 8);
	CHECK(!memcmp(name + 8, "terminal", 8));
	CHECK_EQ(config_write(INPUT, 1, 3), 0);
	config_read(INPUT, 0, name, 136);
	CHECK_EQ(name[1], 3);
	CHECK_EQ(name[2], 0);
	CHECK_EQ(config_write(INPUT, 2, 3), -HCALL_EINVAL);
	CHECK_EQ(config_write(INPUT, 135, 3), -HCALL_EINVAL);
	for (int i = 0; i < 256; i++) {
		CHECK_EQ(config_write(INPUT, 0, i), 0);
		for (int s = 0; s < 256; s += i == HCALL_INPUT_CODES ? 1 : 51) {
			CHECK_EQ(config_write(INPUT, 1, s), 0);
			config_read(INPUT, 0, name, 136);
			CHECK(name[0] == i && name[1] == s && name[2] <= 128);
		}
	}
	/* An event for each buffer. */
	for (int i = 0; i < 4; i++)
		put(&events, (struct piece[]){ IN(DATA + i * 8, 8) }, 1);
	CHECK_EQ(kick(&events), 0);
	CHECK(!answered(&events));
	channel_take(&vm, events.channel);
	type(KEY_A, 1);
	CHECK(channel_fires(&vm, events.channel));
	CHECK_EQ(answer_for(&events, 0), 8);
	CHECK_EQ(answer_for(&events, 1), 8);
	type(KEY_A, 0);
	CHECK_EQ(answer_for(&events, 2), 8);
	CHECK_EQ(answer_for(&events, 3), 8);
	CHECK(event_is(DATA, EV_KEY, KEY_A, 1));
	CHECK(event_is(DATA + 8, EV_SYN, SYN_REPORT, 0));
	CHECK(event_is(DATA + 16, EV_KEY, KEY_A, 0));
	CHECK(event_is(DATA + 24, EV_SYN, SYN_REPORT, 0));
	for (int i = 0; i < 4; i++)
		type(KEY_1 + i, 1);
	CHECK_EQ(request(&events, (struct piece[]){ IN(RAM2 - 4, 8) }, 1), 8);
	CHECK(event_is(RAM2 - 4, EV_KEY, KEY_1, 1));
	for (int i = 0; i < 7; i++)
		CHECK_EQ(request(&events, (struct piece[]){ IN(DATA, 8) }, 1),
			 8);
	CHECK(event_is(DATA, EV_SYN, SYN_REPORT, 0));
	/* Lights, more than the pipe has room for. */
	memcpy(at(&vm, DATA), led, sizeof(led));
	for (int i = 0; i < 256; i++) {
		CHECK_EQ(request(&lights, (struct piece[]){ OUT(DATA, 8) }, 1),
			 0);
		CHECK_EQ(request(&lights, (struct piece[]){ OUT(DATA + 8, 8) },
				 1),
			 0);
	}
	put(&lights, (struct piece[]){ OUT(DATA, 8) }, 1);
	CHECK_EQ(kick(&lights), 0);
	CHECK(!answered(&lights));
	CHECK_EQ(read(from_guest, e, sizeof(e)), 4096);
	CHECK_EQ(answer(&lights).len, 0);
	CHECK_EQ(read(from_guest, e, sizeof(e)), 8);
	CHECK_EQ(e[0].type, EV_LED);
	/* What is no light is not passed on. */
	led[0].type = EV_KEY;
	memcpy(at(&vm, DATA), led, sizeof(led));
	CHECK_EQ(request(&lights, (struct piece[]){ OUT(DATA, 8) }, 1), 0);
	CHECK(read(from_guest, e, sizeof(e)) < 0 && errno == EAGAIN);
	CHECK_EQ(status(INPUT, GET), RUNNING);
	/* A buffer without room for an event is none. */
	put(&events, (struct piece[]){ IN(DATA, 7) }, 1);
	CHECK_EQ(kick(&events), -HCALL_EIO);
	teardown_pipes();
}

/* ---- Net ----------------------------------------------------------------------- */

#define HEADER ((uint32_t)sizeof(struct hcall_net_header))
#define MERGED BIT(VIRTIO_NET_F_MRG_RXBUF)

static uint8_t frame_data[70000];
static void *buffer; /* for the module */
static int tap = -1, host = -1;
static struct queue rx, tx;

static uint8_t frame_byte(uint32_t seed, uint32_t i)
{
	static const uint8_t head[14] = { 0xff, 0xff, 0xff, 0xff, 0xff,
					  0xff, 0x02, 0,    0,	  0,
					  0,	0x77, 0x88, 0xb5 };

	return i < 14 ? head[i] : pattern(i * 3 + seed * 101);
}

static void frame_fill(uint32_t bytes, uint32_t seed)
{
	for (uint32_t i = 0; i < bytes; i++)
		frame_data[i] = frame_byte(seed, i);
}

static bool is_frame(const uint8_t *p, uint32_t bytes, uint32_t seed)
{
	for (uint32_t i = 0; i < bytes; i++) {
		if (p[i] != frame_byte(seed, i)) {
			printf("# frame %u: byte %u of %u\n", seed, i, bytes);
			return false;
		}
	}
	return true;
}

#define PAIRS 4

static int more[PAIRS - 1]; /* queues of the tap */

static int add_net(int fd, int fd_in, bool vnet, int pairs)
{
	struct kvm_hcall_queues queues = { .count = pairs - 1 };
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_NET,
		.flags = vnet ? KVM_HCALL_ADD_VNET_HDR : 0,
		.fd = fd,
		.fd_in = fd_in,
		.name = "n0",
		.buffer = vnet ? (uintptr_t)buffer : 0,
		.mac = { 0x02, 0, 0, 0, 0, 0x77 },
		.mtu = 1500,
		.queues = pairs > 1 ? (uintptr_t)&queues : 0,
	};

	for (int i = 0; i < KVM_HCALL_MAX_QUEUES - 1; i++)
		queues.fd[i] = i < pairs - 1 ? more[i] : -1;
	if (pairs > 1)
		add.name[1] = '1'; /* as the fuzzer has both */
	return vm_add_device(&vm, &add);
}

static void net_start(uint64_t bits)
{
	device_start(NET, bits);
	rx = queue_new(NET, 0, 64);
	tx = queue_new(NET, 1, 16);
	device_go(NET);
}

static void setup_net_pipes(void)
{
	int in[2], out[2];

	setup();
	NEED(!pipe2(in, O_CLOEXEC | O_DIRECT) &&
	     !pipe2(out, O_CLOEXEC | O_DIRECT));
	NEED(!fcntl(out[0], F_SETFL, O_NONBLOCK | O_DIRECT));
	NEED(fcntl(out[1], F_SETPIPE_SZ, 4 * 4096) >= 0);
	CHECK_EQ(add_net(out[1], in[0], false, 1), 0);
	close(in[0]);
	close(out[1]);
	to_guest = in[1];
	from_guest = out[0];
}

static void net_arrives(uint32_t bytes, uint32_t seed)
{
	frame_fill(bytes, seed);
	if (host >= 0)
		NEED(send(host, frame_data, bytes, 0) == (ssize_t)bytes);
	else
		NEED(write(to_guest, frame_data, bytes) == (ssize_t)bytes);
}

/* The next frame at the host; 0: none. */
static uint32_t net_leaves(void)
{
	struct pollfd p = { .fd = host >= 0 ? host : from_guest,
			    .events = POLLIN };
	ssize_t ret;

	if (poll(&p, 1, 2000) != 1)
		return 0;
	ret = read(p.fd, frame_data, sizeof(frame_data));
	return ret < 0 ? 0 : ret;
}

/* Buffer i for frames, of so many bytes in two pieces. */
#define SLOT(i) (DATA + 0x1000u + (i)*0x11003u)

static uint16_t put_slot(uint32_t i, uint32_t bytes)
{
	return put(&rx,
		   (struct piece[]){ IN(SLOT(i), 10),
				     IN(SLOT(i) + 10, bytes - 10) },
		   2);
}

static void expect_header(uint64_t gpa, uint16_t buffers)
{
	struct hcall_net_header h;

	memcpy(&h, at(&vm, gpa), sizeof(h));
	CHECK_EQ(h.buffers, buffers);
	CHECK_EQ(h.gso_type, 0);
}

/* What pipes and taps do alike. */
static void net_both(void)
{
	static const uint32_t sizes[] = { 14, 60, 61, 777, 1514 };
	uint8_t *head;

	/* To the host: whatever the header says that no feature was taken for. */
	for (int i = 0; i < 5; i++) {
		frame_fill(sizes[i], i);
		memset(at(&vm, SLOT(0)), 0, HEADER);
		memcpy(at(&vm, SLOT(0) + HEADER), frame_data, sizes[i]);
		CHECK_EQ(request(&tx,
				 (struct piece[]){
					 OUT(SLOT(0), 5),
					 OUT(SLOT(0) + 5, HEADER - 5 + 3),
					 OUT(SLOT(0) + HEADER + 3,
					     sizes[i] - 3) },
				 3),
			 0);
		CHECK_EQ(net_leaves(), sizes[i]);
		CHECK(is_frame(frame_data, sizes[i], i));
	}
	/* No frame: lost, and the device lives. */
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(SLOT(0), 11) }, 1), 0);
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(SLOT(0), HEADER) }, 1), 0);
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(SLOT(0), HEADER + 13) }, 1),
		 0);
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(SLOT(0), 0x200000) }, 1),
		 0);
	/* Garbage before a frame: it arrives, or not. */
	head = at(&vm, SLOT(0));
	for (int i = 0; i < 200; i++) {
		for (unsigned int b = 0; b < HEADER; b++)
			head[b] = rand();
		CHECK_EQ(
			request(&tx,
				(struct piece[]){ OUT(SLOT(0), HEADER + 1514) },
				1),
			0);
		if (i % 3 == 2) {
			struct pollfd p = { .fd = host >= 0 ? host : from_guest,
					    .events = POLLIN };

			while (poll(&p, 1, 0) == 1)
				net_leaves();
		}
	}
	CHECK_EQ(status(NET, GET), RUNNING);
	memset(head, 0, HEADER);
	frame_fill(99, 99);
	memcpy(head + HEADER, frame_data, 99);
	CHECK_EQ(request(&tx, (struct piece[]){ OUT(SLOT(0), HEADER + 99) }, 1),
		 0);
	for (int i = 0; i < 300; i++) {
		if (net_leaves() == 99 && is_frame(frame_data, 99, 99))
			break;
		NEED(i < 299);
	}
	/* From the host: before and after the buffer. */
	for (int i = 0; i < 5; i++) {
		uint16_t name;

		if (i % 2) {
			name = put_slot(0, 2000);
			CHECK_EQ(kick(&rx), 0);
			CHECK(!answered(&rx));
			channel_take(&vm, rx.channel);
			net_arrives(sizes[i], i);
			CHECK(channel_fires(&vm, rx.channel));
		} else {
			net_arrives(sizes[i], i);
			usleep(10000);
			CHECK(!answered(&rx));
			name = put_slot(0, 2000);
			CHECK_EQ(kick(&rx), 0);
		}
		CHECK_EQ(answer_for(&rx, name), HEADER + sizes[i]);
		expect_header(SLOT(0), 1);
		CHECK(is_frame(at(&vm, SLOT(0) + HEADER), sizes[i], i));
	}
	/* It does not fit: lost, and the next one arrives. */
	net_arrives(1000, 1);
	net_arrives(900, 2);
	net_arrives(300, 3);
	usleep(10000);
	put_slot(0, HEADER + 300);
	CHECK_EQ(kick(&rx), 0);
	CHECK_EQ(answer(&rx).len, HEADER + 300);
	CHECK(is_frame(at(&vm, SLOT(0) + HEADER), 300, 3));
	put_slot(0, 2000);
	CHECK_EQ(kick(&rx), 0);
	CHECK(!answered(&rx));
	net_arrives(301, 4);
	CHECK_EQ(answer(&rx).len, HEADER + 301);
}

/*
 * Over several buffers.  @all: of pipes, whose next frame may be that long; 0: of a
 * tap, which says how long it is.
 */
static void net_merged(uint32_t all)
{
	uint32_t bytes = 1000, part = 300, put = 0, got = 0, used, n;
	static uint8_t whole[2000];

	net_start(MERGED);
	net_arrives(bytes, 5);
	usleep(10000);
	/* Too few. */
	for (n = (all ? all : HEADER + bytes) / part; n; n--)
		put_slot(put++ % 40, part);
	CHECK_EQ(kick(&rx), 0);
	CHECK(!answered(&rx));
	put_slot(put++ % 40, part);
	put_slot(put++ % 40, part);
	CHECK_EQ(kick(&rx), 0);
	used = (HEADER + bytes + part - 1) / part;
	for (uint32_t i = 0; i < used; i++) {
		uint32_t len = answer(&rx).len;

		CHECK_EQ(len, i + 1 < used ? part : HEADER + bytes - i * part);
		memcpy(whole + got, at(&vm, SLOT(i)), len);
		got += len;
	}
	CHECK(!answered(&rx));
	CHECK_EQ(got, HEADER + bytes);
	expect_header(SLOT(0), used);
	CHECK(is_frame(whole + HEADER, bytes, 5));
	/* The rest of them is for the next frame. */
	while (put - used < (all ? all / part + 1 : 3))
		put_slot(put++ % 40, part);
	CHECK_EQ(kick(&rx), 0);
	net_arrives(500, 6);
	CHECK_EQ(answer(&rx).len, part);
	CHECK_EQ(answer(&rx).len, HEADER + 500 - part);
	CHECK(!answered(&rx));
	expect_header(SLOT(used % 40), 2);
	/* One with room for all is alone. */
	net_start(MERGED);
	net_arrives(14, 7);
	put_slot(0, 0x11000);
	put_slot(1, 0x11000);
	CHECK_EQ(kick(&rx), 0);
	CHECK_EQ(answer(&rx).len, HEADER + 14);
	expect_header(SLOT(0), 1);
	CHECK(is_frame(at(&vm, SLOT(0) + HEADER), 14, 7));
	net_arrives(15, 8);
	CHECK_EQ(answer(&rx).len, HEADER + 15);
	CHECK(is_frame(at(&vm, SLOT(1) + HEADER), 15, 8));
	/* Buffers of many pieces each, together too many. */
	net_start(MERGED | F_INDIRECT);
	for (int i = 0; i < 3; i++) {
		static struct piece p[200];

		for (int k = 0; k < 200; k++)
			p[k] = (struct piece)IN(DATA + i * 0x4000 + k * 13, 7);
		put_indirect(&rx, i * 0x1000, p, 200);
	}
	net_arrives(1000, 9);
	CHECK_EQ(kick(&rx), 0);
	CHECK_EQ(status(NET, GET), RUNNING);
	put_slot(0, 0x11000);
	CHECK_EQ(kick(&rx), 0);
	net_arrives(1001, 10);
	CHECK_EQ(kick(&rx), 0);
	CHECK_EQ(status(NET, GET), RUNNING);
}

/* Buffers of the wrong kind, and without room for any frame. */
static void net_lies(void)
{
	static const struct {
		bool out;
		struct piece piece;
	} rows[] = {
		{ false, OUT(DATA, 2000) }, { false, IN(DATA, 12) },
		{ false, IN(DATA, 1) },	    { false, IN(HOLE, 2000) },
		{ false, IN(ROM, 2000) },   { true, IN(DATA, 100) },
		{ true, OUT(HOLE, 100) },
	};

	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t ret = 0;

		net_start(0);
		usleep(10000);
		put(rows[i].out ? &tx : &rx, &rows[i].piece, 1);
		ret = kick(rows[i].out ? &tx : &rx);
		CHECK_EQ(ret, -HCALL_EIO);
		CHECK_EQ(status(NET, GET), RUNNING | NEEDS_RESET);
		CHECK_EQ(kick_flags(&rx, 0), -HCALL_EIO);
		CHECK_EQ(kick_flags(&tx, 0), -HCALL_EIO);
	}
	net_start(0);
	put_slot(0, 2000);
	CHECK_EQ(kick(&rx), 0);
	net_arrives(100, 3);
	CHECK_EQ(answer(&rx).len, HEADER + 100);
}

static void net_pipes(void)
{
	struct virtio_net_config c;
	struct kvm_hcall_link link = { .mtu = 1400 };

	setup_net_pipes();
	CHECK_EQ(device(NET).device_id, VIRTIO_ID_NET);
	net_start(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU) |
		  BIT(VIRTIO_NET_F_STATUS));
	config_read(NET, 0, &c, device(NET).config_bytes);
	CHECK(!memcmp(c.mac, "\2\0\0\0\0\x77", 6));
	CHECK_EQ(c.mtu, 1500);
	CHECK_EQ(c.status, VIRTIO_NET_S_LINK_UP);
	NEED(!ioctl(vm.hcall, KVM_HCALL_LINK, &link));
	CHECK(channel_fires(&vm, device(NET).channel));
	config_read(NET, 0, &c, device(NET).config_bytes);
	CHECK_EQ(c.mtu, 1400);
	CHECK_EQ(c.status, 0);
	net_both();
	/* No room in the pipe: it waits, and leaves when there is some. */
	for (int i = 0; i < 6; i++) {
		memset(at(&vm, SLOT(i)), 0, HEADER);
		frame_fill(3000, i);
		memcpy(at(&vm, SLOT(i) + HEADER), frame_data, 3000);
		put(&tx, (struct piece[]){ OUT(SLOT(i), HEADER + 3000) }, 1);
	}
	CHECK_EQ(kick(&tx), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(answer(&tx).len, 0);
	CHECK(!answered(&tx));
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(net_leaves(), 3000);
		CHECK(is_frame(frame_data, 3000, i));
	}
	CHECK_EQ(answer(&tx).len, 0);
	CHECK_EQ(answer(&tx).len, 0);
	net_merged(4096 + HEADER);
	net_lies();
	teardown_pipes();
}

static void tap_up(void)
{
	struct ifreq req = { .ifr_name = "tap0",
			     .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &req));
	close(fd);
}

static int packet_open(void)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = if_nametoindex("tap0") };
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	NEED(fd >= 0 && !setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING,
				    &one, sizeof(one)));
	NEED(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	return fd;
}

/* Networks of our own. */
static void namespace(void)
{
	NEED(!system("modprobe -a tun"));
	NEED(!unshare(CLONE_NEWNET));
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	buffer = mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(buffer != MAP_FAILED);
}

static void setup_tap(bool vnet)
{
	struct ifreq req = { .ifr_name = "tap0",
			     .ifr_flags = IFF_TAP | IFF_NO_PI |
					  (vnet ? IFF_VNET_HDR : 0) };
	int bytes = HEADER;

	setup();
	namespace();
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	NEED(tap >= 0 && !ioctl(tap, TUNSETIFF, &req));
	if (vnet)
		NEED(!ioctl(tap, TUNSETVNETHDRSZ, &bytes));
	tap_up();
	host = packet_open();
	CHECK_EQ(add_net(tap, -1, vnet, 1), 0);
}

static void net_tap(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet);
		net_start(0);
		net_both();
		net_merged(0);
		net_lies();
		if (vnet) {
			net_start(BIT(VIRTIO_NET_F_CSUM) |
				  BIT(VIRTIO_NET_F_GUEST_CSUM) |
				  BIT(VIRTIO_NET_F_GUEST_TSO4));
			net_both();
			/* Not without checksums: FEATURES_OK does not stay. */
			CHECK_EQ(status(NET, 0), 0);
			CHECK_EQ(status(NET, ACKNOWLEDGE | DRIVER),
				 ACKNOWLEDGE | DRIVER);
			CHECK_EQ(features(NET,
					  VERSION_1 |
						  BIT(VIRTIO_NET_F_GUEST_TSO4)),
				 0);
			CHECK_EQ(status(NET, SET_UP), ACKNOWLEDGE | DRIVER);
		}
		teardown();
		munmap(buffer, KVM_HCALL_BUFFER_BYTES);
		close(tap);
		close(host);
		tap = host = -1;
	}
}

/* ---- Net, several queues --------------------------------------------------------- */

#define MQ	 BIT(VIRTIO_NET_F_MQ)
#define CONTROL	 BIT(VIRTIO_NET_F_CTRL_VQ)
#define OFFLOADS BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)
#define COMMAND	 (RAM + 0x90200u)
#define ACK	 (RAM + 0x90300u)

static struct queue pair_rx[PAIRS], pair_tx[PAIRS], control;
static int
	by_queue[PAIRS]; /* packet sockets, each for one of the tap's queues */

static void taps_setup(void)
{
	namespace();
	tap = taps_open("tap0", true);
	for (int i = 0; i < PAIRS - 1; i++)
		more[i] = taps_open("tap0", true);
	taps_steer(tap);
	tap_up();
	host = packet_open();
	for (int i = 0; i < PAIRS; i++) {
		by_queue[i] = packet_open();
		taps_listen(by_queue[i], i);
	}
}

static void taps_teardown(void)
{
	munmap(buffer, KVM_HCALL_BUFFER_BYTES);
	for (int i = 0; i < PAIRS - 1; i++)
		close(more[i]);
	for (int i = 0; i < PAIRS; i++)
		close(by_queue[i]);
	close(tap);
	close(host);
	tap = host = -1;
}

static void setup_pairs(void)
{
	setup();
	taps_setup();
	CHECK_EQ(add_net(tap, -1, true, PAIRS), 0);
}

/* All queues that these features mean; with MQ one pair of them is in use. */
static void pairs_start(uint64_t bits)
{
	int pairs = bits & MQ ? PAIRS : 1;

	device_start(NET, bits);
	for (int i = 0; i < pairs; i++) {
		pair_rx[i] = queue_new(NET, 2 * i, 64);
		pair_tx[i] = queue_new(NET, 2 * i + 1, 16);
	}
	control = queue_new(NET, 2 * pairs, 16);
	device_go(NET);
	usleep(10000);
}

/* Return: the device's answer. */
static int command(uint8_t class, uint8_t cmd, uint64_t value, uint32_t bytes)
{
	volatile uint8_t *ack = at(&vm, ACK);
	uint8_t *p = at(&vm, COMMAND);
	struct piece piece[3] = { OUT(COMMAND, 2) };
	uint32_t n = 1;

	p[0] = class;
	p[1] = cmd;
	memset(p + 2, 0, 16);
	memcpy(p + 2, &value, sizeof(value));
	if (bytes)
		piece[n++] = (struct piece)OUT(COMMAND + 2, bytes);
	piece[n++] = (struct piece)IN(ACK, 1);
	*ack = 0xee;
	CHECK_EQ(request(&control, piece, n), 1);
	return *ack;
}

static int set_pairs(uint16_t pairs)
{
	return command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
		       pairs, 2);
}

static int set_offloads(uint64_t offloads)
{
	return command(VIRTIO_NET_CTRL_GUEST_OFFLOADS,
		       VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, offloads, 8);
}

/* A frame that the tap has in that queue.  Return: its seed, always another. */
static uint32_t queue_arrives(int queue, uint32_t bytes)
{
	static uint32_t seed;

	do
		seed++;
	while (frame_byte(seed, TAPS_BYTE) % PAIRS != queue);
	net_arrives(bytes, seed);
	return seed;
}

static void pair_fill(int pair, int n)
{
	for (int i = 0; i < n; i++)
		put(&pair_rx[pair], (struct piece[]){ IN(SLOT(pair), 2000) },
		    1);
	CHECK_EQ(kick(&pair_rx[pair]), 0);
}

/* A frame of that queue comes by that pair and by no other; all have a buffer. */
static void arrives_by(int queue, int pair)
{
	uint32_t bytes = 100 + queue, seed = queue_arrives(queue, bytes);

	CHECK_EQ(answer(&pair_rx[pair]).len, HEADER + bytes);
	CHECK(is_frame(at(&vm, SLOT(pair) + HEADER), bytes, seed));
	for (int i = 0; i < PAIRS; i++)
		CHECK(!answered(&pair_rx[i]));
	CHECK(channel_fires(&vm, pair_rx[pair].channel));
	pair_fill(pair, 1);
}

static void leaves_by(int pair)
{
	struct pollfd p = { .fd = by_queue[pair], .events = POLLIN };
	uint32_t bytes = 60 + pair;

	memset(at(&vm, SLOT(8)), 0, HEADER);
	frame_fill(bytes, pair);
	memcpy(at(&vm, SLOT(8) + HEADER), frame_data, bytes);
	CHECK_EQ(request(&pair_tx[pair],
			 (struct piece[]){ OUT(SLOT(8), HEADER + bytes) }, 1),
		 0);
	CHECK_EQ(poll(&p, 1, 2000), 1);
	CHECK_EQ(read(p.fd, frame_data, sizeof(frame_data)), bytes);
	CHECK(is_frame(frame_data, bytes, pair));
	CHECK_EQ(net_leaves(), bytes);
	for (int i = 0; i < PAIRS; i++)
		CHECK(read(by_queue[i], frame_data, 1) < 0 && errno == EAGAIN);
}

static void net_pairs(void)
{
	struct hcall_virtio_device info;
	struct kvm_hcall_stats before;
	struct virtio_net_config c;

	setup_pairs();
	for (int i = 0; i < PAIRS; i++)
		NEED(!fcntl(by_queue[i], F_SETFL, O_NONBLOCK));
	info = device(NET);
	CHECK_EQ(info.queues, 2 * PAIRS + 1);
	CHECK_EQ(info.features & (MQ | CONTROL | OFFLOADS),
		 MQ | CONTROL | OFFLOADS);
	config_read(NET, 0, &c, info.config_bytes);
	CHECK_EQ(c.max_virtqueue_pairs, PAIRS);
	for (int merged = 0; merged < 2; merged++) {
		pairs_start(MQ | CONTROL | (merged ? MERGED : 0));
		for (int i = 0; i < PAIRS; i++)
			pair_fill(i, 1);
		/* One pair, before the first command and after a reset. */
		for (int i = 0; i < PAIRS; i++)
			arrives_by(i, 0);
		for (int pairs = PAIRS; pairs; pairs--) {
			CHECK_EQ(set_pairs(pairs), VIRTIO_NET_OK);
			for (int i = 0; i < 2 * PAIRS; i++)
				arrives_by(i % PAIRS, i % PAIRS % pairs);
		}
		/* What waits for a buffer goes by another pair when its goes. */
		CHECK_EQ(set_pairs(PAIRS), VIRTIO_NET_OK);
		arrives_by(3, 3);
		for (int i = 0; i < 3; i++)
			queue_arrives(3, 200 + i);
		CHECK_EQ(answer(&pair_rx[3]).len, HEADER + 200);
		usleep(10000);
		CHECK(!answered(&pair_rx[0]));
		pair_fill(0, 1);
		CHECK_EQ(set_pairs(1), VIRTIO_NET_OK);
		CHECK_EQ(answer(&pair_rx[0]).len, HEADER + 201);
		CHECK_EQ(answer(&pair_rx[0]).len, HEADER + 202);
		/* And a buffer there is left alone. */
		pair_fill(3, 1);
		usleep(10000);
		CHECK(!answered(&pair_rx[3]));
		pair_fill(0, 1);
		arrives_by(3, 0);
		/* Each frame is a call. */
		CHECK_EQ(set_pairs(2), VIRTIO_NET_OK);
		before = vm_stats(&vm, HCALL_CLASS_NET);
		for (int i = 0; i < PAIRS; i++)
			arrives_by(i, i % 2);
		CHECK_EQ(vm_stats(&vm, HCALL_CLASS_NET).calls - before.calls,
			 PAIRS);
		CHECK_EQ(vm_stats(&vm, HCALL_CLASS_NET).errors, before.errors);
		/* By its own queue, in use or not. */
		for (int i = 0; i < PAIRS; i++)
			leaves_by(i);
	}
	/* Without MQ there is one pair for all. */
	pairs_start(CONTROL);
	for (int i = 0; i < PAIRS; i++) {
		uint32_t seed;

		pair_fill(0, 1);
		seed = queue_arrives(i, 77);
		CHECK_EQ(answer(&pair_rx[0]).len, HEADER + 77);
		CHECK(is_frame(at(&vm, SLOT(0) + HEADER), 77, seed));
	}
	teardown();
	taps_teardown();
}

/* What is no command, or not now, is refused, and changes nothing. */
static void net_commands(void)
{
	static const struct {
		uint8_t class, cmd;
		uint32_t bytes;
		uint64_t value;
	} rows[] = {
		/* MQ: not what it should be, and the other commands */
		{ 4, 0, 0, 0 },
		{ 4, 0, 1, 1 },
		{ 4, 0, 3, 1 },
		{ 4, 0, 16, 1 },
		{ 4, 0, 2, 0 },
		{ 4, 0, 2, PAIRS + 1 },
		{ 4, 0, 2, 0x8000 },
		{ 4, 0, 2, 0xffff },
		{ 4, 1, 2, 1 },
		{ 4, 2, 2, 1 },
		{ 4, 255, 2, 1 },
		/* GUEST_OFFLOADS */
		{ 5, 0, 0, 0 },
		{ 5, 0, 7, 0 },
		{ 5, 0, 9, 0 },
		/* not chosen */
		{ 5, 0, 8,
		  BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO6) },
		{ 5, 0, 8, BIT(VIRTIO_NET_F_GUEST_TSO4) }, /* without CSUM */
		{ 5, 0, 8, BIT(VIRTIO_NET_F_CSUM) },
		{ 5, 0, 8, BIT(63) },
		{ 5, 1, 8, 0 },
		/* RX, MAC, VLAN, ANNOUNCE, none */
		{ 0, 0, 1, 1 },
		{ 1, 0, 8, 0 },
		{ 1, 1, 6, 2 },
		{ 2, 0, 2, 1 },
		{ 3, 0, 0, 0 },
		{ 6, 0, 8, 0 },
		{ 255, 255, 8, 1 },
	};
	const uint64_t bits = MQ | CONTROL | OFFLOADS |
			      BIT(VIRTIO_NET_F_GUEST_CSUM) |
			      BIT(VIRTIO_NET_F_GUEST_TSO4);
	volatile uint8_t *ack;
	uint8_t *p;

	setup_pairs();
	ack = at(&vm, ACK);
	p = at(&vm, COMMAND);
	pairs_start(bits);
	for (int i = 0; i < PAIRS; i++)
		pair_fill(i, 1);
	CHECK_EQ(set_pairs(3), VIRTIO_NET_OK);
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (command(rows[i].class, rows[i].cmd, rows[i].value,
			    rows[i].bytes) != VIRTIO_NET_ERR) {
			printf("# row %u\n", i);
			CHECK(!"refused");
		}
	}
	CHECK_EQ(status(NET, GET), RUNNING);
	arrives_by(2, 2);
	arrives_by(3, 0);
	/* No command at all, half of one, one in pieces, much room for the answer. */
	*ack = 0xee;
	CHECK_EQ(request(&control, (struct piece[]){ IN(ACK, 1) }, 1), 1);
	CHECK_EQ(*ack, VIRTIO_NET_ERR);
	*ack = 0xee;
	p[0] = VIRTIO_NET_CTRL_MQ;
	CHECK_EQ(request(&control,
			 (struct piece[]){ OUT(COMMAND, 1), IN(ACK, 1) }, 2),
		 1);
	CHECK_EQ(*ack, VIRTIO_NET_ERR);
	p[0] = VIRTIO_NET_CTRL_MQ;
	p[1] = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET;
	p[2] = 2;
	p[3] = 0;
	memset(at(&vm, ACK), 0xee, 10);
	CHECK_EQ(request(&control,
			 (struct piece[]){ OUT(COMMAND, 1), OUT(COMMAND + 1, 2),
					   OUT(COMMAND + 3, 1), IN(ACK, 3),
					   IN(ACK + 3, 7) },
			 5),
		 1);
	CHECK_EQ(*ack, VIRTIO_NET_OK);
	CHECK(all_are(at(&vm, ACK + 1), 0xee, 9));
	arrives_by(3, 1);
	/* Where the answer cannot be, nor the command. */
	for (int i = 0; i < 4; i++) {
		struct piece piece[4][2] = {
			{ OUT(COMMAND, 4) },
			{ OUT(COMMAND, 4), IN(ROM, 1) },
			{ OUT(COMMAND, 4), IN(HOLE, 1) },
			{ OUT(HOLE, 4), IN(ACK, 1) },
		};

		pairs_start(bits);
		p[0] = VIRTIO_NET_CTRL_MQ;
		put(&control, piece[i], i ? 2 : 1);
		CHECK_EQ(kick(&control), -HCALL_EIO);
		CHECK_EQ(status(NET, GET), RUNNING | NEEDS_RESET);
	}
	/* What needs a control queue does not go without. */
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(status(NET, 0), 0);
		CHECK_EQ(status(NET, ACKNOWLEDGE | DRIVER),
			 ACKNOWLEDGE | DRIVER);
		CHECK_EQ(features(NET, VERSION_1 | (i ? MQ : OFFLOADS)), 0);
		CHECK_EQ(status(NET, SET_UP), ACKNOWLEDGE | DRIVER);
	}
	/* Without the features, there is nothing to command. */
	pairs_start(CONTROL);
	CHECK_EQ(set_pairs(1), VIRTIO_NET_ERR);
	CHECK_EQ(set_offloads(0), VIRTIO_NET_ERR);
	teardown();
	taps_teardown();
	/* Of pipes, too. */
	setup_net_pipes();
	CHECK_EQ(device(NET).features & (CONTROL | MQ | OFFLOADS), CONTROL);
	pairs_start(CONTROL);
	CHECK_EQ(set_pairs(1), VIRTIO_NET_ERR);
	CHECK_EQ(set_offloads(0), VIRTIO_NET_ERR);
	teardown_pipes();
}

/* A frame by a call has a header as long as any feature is on. */
static int64_t bare_frame(void)
{
	memset(at(&vm, SLOT(9)), 0xff, HCALL_NET_MIN_BYTES);
	return call(&vm, HCALL_NET_SEND, 0, SLOT(9), HCALL_NET_MIN_BYTES, 0);
}

static void net_offloads(void)
{
	const uint64_t csum = BIT(VIRTIO_NET_F_GUEST_CSUM),
		       all = csum | BIT(VIRTIO_NET_F_GUEST_TSO4);

	setup_tap(true);
	CHECK_EQ(device(NET).queues, 3);
	CHECK_EQ(device(NET).features & (CONTROL | MQ | OFFLOADS),
		 CONTROL | OFFLOADS);
	pairs_start(CONTROL | OFFLOADS | all);
	CHECK_EQ(bare_frame(), -HCALL_EINVAL);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(set_offloads(0), VIRTIO_NET_OK);
		CHECK_EQ(bare_frame(), 0);
		CHECK_EQ(set_offloads(i ? all : csum), VIRTIO_NET_OK);
		CHECK_EQ(bare_frame(), -HCALL_EINVAL);
	}
	/* The policy of class net is asked. */
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_NET, KVM_HCALL_DENY, 0), 0);
	CHECK_EQ(set_offloads(0), VIRTIO_NET_ERR);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_NET, KVM_HCALL_HANDLE, 0), 0);
	CHECK_EQ(bare_frame(), -HCALL_EINVAL);
	/* What was chosen for the other direction stays. */
	pairs_start(CONTROL | OFFLOADS | csum | BIT(VIRTIO_NET_F_CSUM));
	CHECK_EQ(set_offloads(0), VIRTIO_NET_OK);
	CHECK_EQ(bare_frame(), -HCALL_EINVAL);
	CHECK_EQ(status(NET, 0), 0);
	CHECK_EQ(bare_frame(), 0);
	teardown();
	munmap(buffer, KVM_HCALL_BUFFER_BYTES);
	close(tap);
	close(host);
	tap = host = -1;
}

/* A pair is out of use when a frame that was on its way to it has come. */
static void net_pairs_wait(void)
{
	const uint64_t slow = RAM2 + 0x80000;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
		.range.len = 4096,
	};
	struct uffdio_zeropage zero = { .range.len = 4096 };
	struct vcpu *vcpu = &vm.vcpu[1];
	struct uffd_msg msg;
	uint8_t *p;
	int uffd;

	setup_pairs();
	pairs_start(MQ | CONTROL);
	CHECK_EQ(set_pairs(PAIRS), VIRTIO_NET_OK);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range.start = zero.range.start = (uintptr_t)at(&vm, slow);
	NEED(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api));
	NEED(!ioctl(uffd, UFFDIO_REGISTER, &reg));
	put(&pair_rx[3], (struct piece[]){ IN(slow, 2000) }, 1);
	CHECK_EQ(kick(&pair_rx[3]), 0);
	queue_arrives(3, 100);
	NEED(read(uffd, &msg, sizeof(msg)) == sizeof(msg));
	p = at(&vm, COMMAND);
	p[0] = VIRTIO_NET_CTRL_MQ;
	p[1] = VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET;
	p[2] = 1;
	put(&control, (struct piece[]){ OUT(COMMAND, 4), IN(ACK, 1) }, 2);
	call_start(vcpu, HCALL_VIRTIO_KICK, NET, control.index, 0, 0);
	usleep(200000);
	CHECK(!answered(&control));
	/* It can be interrupted, and made again. */
	call_interrupt(vcpu);
	CHECK_EQ(call_run(vcpu), -HCALL_EINTR);
	CHECK(!answered(&control));
	call_start(vcpu, HCALL_VIRTIO_KICK, NET, control.index, 0, 0);
	usleep(200000);
	CHECK(!answered(&control));
	CHECK(!answered(&pair_rx[3]));
	NEED(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	CHECK_EQ(call_wait(vcpu), 0);
	CHECK_EQ(answer(&control).len, 1);
	CHECK_EQ(*(uint8_t *)at(&vm, ACK), VIRTIO_NET_OK);
	CHECK_EQ(answer(&pair_rx[3]).len, HEADER + 100);
	close(uffd);
	teardown();
	taps_teardown();
}

/*
 * A frame that was too long for the buffer is lost; then the buffer is for that of
 * another queue, also if nothing more comes to wake anybody.
 */
static void net_pairs_lost(void)
{
	setup_pairs();
	for (int from = 0; from < PAIRS; from++) {
		for (int to = 0; to < PAIRS; to++) {
			uint32_t seed;

			if (from == to)
				continue;
			pairs_start(MQ | CONTROL);
			queue_arrives(from, 1000);
			queue_arrives(from, 900);
			seed = queue_arrives(to, 100);
			usleep(10000);
			put(&pair_rx[0],
			    (struct piece[]){ IN(SLOT(0), HEADER + 300) }, 1);
			CHECK_EQ(kick(&pair_rx[0]), 0);
			CHECK_EQ(answer(&pair_rx[0]).len, HEADER + 100);
			CHECK(is_frame(at(&vm, SLOT(0) + HEADER), 100, seed));
		}
	}
	teardown();
	taps_teardown();
}

/*
 * What a tap has no room for leaves when it has some, by whichever queue.  Frames of
 * the tap are kept by a qdisc that is plugged, and one at a time is all it has room
 * for.
 */
static void net_pairs_full(void)
{
	int bytes = 64;

	setup_pairs();
	NEED(!system("modprobe -a dummy sch_ingress sch_plug cls_matchall "
		     "act_mirred && ip link add full0 type dummy && "
		     "ip link set full0 up && tc qdisc add dev tap0 ingress && "
		     "tc filter add dev tap0 ingress matchall action mirred "
		     "egress redirect dev full0"));
	NEED(!ioctl(tap, TUNSETSNDBUF, &bytes));
	for (int pairs = 1; pairs <= PAIRS; pairs += PAIRS - 1) {
		pairs_start(MQ | CONTROL);
		CHECK_EQ(set_pairs(pairs), VIRTIO_NET_OK);
		memset(at(&vm, SLOT(8)), 0, HEADER);
		frame_fill(100, 1);
		memcpy(at(&vm, SLOT(8) + HEADER), frame_data, 100);
		for (int i = 0; i < PAIRS; i++) {
			NEED(!system("tc qdisc add dev full0 root plug"));
			for (int k = 0; k < 2; k++)
				put(&pair_tx[i],
				    (struct piece[]){
					    OUT(SLOT(8), HEADER + 100) },
				    1);
			CHECK_EQ(kick(&pair_tx[i]), 0);
			CHECK_EQ(answer(&pair_tx[i]).len, 0);
			usleep(20000);
			CHECK(!answered(&pair_tx[i]));
			NEED(!system("tc qdisc del dev full0 root"));
			CHECK_EQ(answer(&pair_tx[i]).len, 0);
		}
	}
	teardown();
	taps_teardown();
}

#define CHANGES	      400
#define CHANGE_FRAMES 4000

static atomic_int change_sent;

static void *change_sender(void *arg)
{
	(void)arg;
	for (int i = 0; i < CHANGE_FRAMES; i++) {
		uint8_t data[64];

		memset(data, 0xff, 12);
		data[12] = 0x88;
		data[13] = 0xb5;
		data[TAPS_BYTE] = i;
		memcpy(data + 20, &i, sizeof(i));
		NEED(send(host, data, 64, 0) == 64);
		change_sent = i + 1;
		usleep(100);
	}
	return NULL;
}

/*
 * Pairs come and go while frames come by all queues: each frame comes once, and
 * none by a pair after the answer that it is not in use.
 */
static void net_pairs_change(void)
{
	static uint8_t seen[CHANGE_FRAMES];
	int got = 0, changes = 0, pairs = 1, number;
	uint16_t idx[PAIRS];
	pthread_t thread;

	setup_pairs();
	memset(seen, 0, sizeof(seen));
	pairs_start(MQ | CONTROL);
	for (int i = 0; i < PAIRS; i++) {
		for (int k = 0; k < 60; k++)
			put(&pair_rx[i],
			    (struct piece[]){
				    IN(DATA + (i * 64 + k) * 128, 128) },
			    1);
		CHECK_EQ(kick(&pair_rx[i]), 0);
	}
	change_sent = 0;
	NEED(!pthread_create(&thread, NULL, change_sender, NULL));
	for (int idle = 0; idle < 200;) {
		if (changes < CHANGES) {
			pairs = 1 + rand() % PAIRS;
			CHECK_EQ(set_pairs(pairs), VIRTIO_NET_OK);
			changes++;
		} else if (change_sent == CHANGE_FRAMES) {
			idle++;
		}
		for (int i = 0; i < PAIRS; i++)
			idx[i] = *(volatile uint16_t *)&pair_rx[i].used->idx;
		usleep(1000);
		for (int i = 0; i < PAIRS; i++) {
			struct queue *q = &pair_rx[i];

			if (i >= pairs)
				CHECK_EQ(q->used->idx, idx[i]);
			while (answered(q)) {
				uint32_t id = answer(q).id;
				uint64_t gpa = q->table[id].addr;

				memcpy(&number, at(&vm, gpa + HEADER + 20),
				       sizeof(number));
				NEED(number >= 0 && number < CHANGE_FRAMES);
				seen[number]++;
				got++;
				q->table[id].addr = gpa;
				publish(q, id);
			}
			CHECK_EQ(kick(q), 0);
		}
	}
	NEED(!pthread_join(thread, NULL));
	printf("# %d frames, %d changes\n", got, changes);
	CHECK_EQ(got, CHANGE_FRAMES);
	for (int i = 0; i < CHANGE_FRAMES; i++)
		CHECK_EQ(seen[i], 1);
	teardown();
	taps_teardown();
}

/* ---- Rings --------------------------------------------------------------------- */

static void indirect(void)
{
	static struct piece p[254];
	struct queue q;
	uint16_t head;

	setup_disk(0);
	q = start(BLK, 2, F_INDIRECT);
	for (int i = 0; i < 254; i++)
		p[i] = (struct piece)IN(DATA + i * 1024, 512);
	blk_head(HEAD, VIRTIO_BLK_T_IN, 50);
	memmove(p + 1, p, 253 * sizeof(p[0]));
	p[0] = (struct piece)OUT(HEAD, 16);
	p[253] = (struct piece)IN(STATUS, 1);
	for (int i = 0; i < 10; i++) {
		head = put_indirect(&q, i % 3 * 8 + 1, p, 254);
		CHECK_EQ(kick(&q), 0);
		CHECK_EQ(answer_for(&q, head), 252 * 512 + 1);
		for (int s = 0; s < 252; s++)
			expect_sector(at(&vm, DATA + s * 1024), 50 + s);
	}
	/* A table over two memslots, and one in tiles. */
	for (int i = 0; i < 3; i++) {
		struct vring_desc *d = &q.table[q.cursor % 2];
		struct vring_desc t[2] = {
			{ HEAD, 16, VRING_DESC_F_NEXT, 1 },
			{ DATA, 513, VRING_DESC_F_WRITE, 0 },
		};
		uint64_t gpa = i == 0 ? RAM2 - 9 : i == 1 ? ROM : TILES + 4090;

		if (i == 0) {
			memcpy(vm.ram + RAM_BYTES - 9, t, 9);
			memcpy(vm.ram2, (uint8_t *)t + 9, 23);
		} else if (i == 1) {
			memcpy(vm.rom, t, 32);
		} else {
			memcpy(vm.tiles + 15 * 4096 + 4090, t, 6);
			memcpy(vm.tiles + 14 * 4096, (uint8_t *)t + 6, 26);
		}
		memset(at(&vm, DATA), 0, 512);
		*d = (struct vring_desc){ gpa, 32, VRING_DESC_F_INDIRECT, 0 };
		publish(&q, q.cursor++ % 2);
		CHECK_EQ(kick(&q), 0);
		CHECK_EQ(answer(&q).len, 513);
		expect_sector(at(&vm, DATA), 50);
	}
	/* Behind a descriptor of the queue's own table. */
	memcpy(at(&vm, INDIRECT),
	       &(struct vring_desc){ DATA, 513, VRING_DESC_F_WRITE, 0 }, 16);
	q.table[0] = (struct vring_desc){ HEAD, 16, VRING_DESC_F_NEXT, 1 };
	q.table[1] =
		(struct vring_desc){ INDIRECT, 16, VRING_DESC_F_INDIRECT, 0 };
	memset(at(&vm, DATA), 0, 512);
	publish(&q, 0);
	CHECK_EQ(kick(&q), 0);
	CHECK_EQ(answer_for(&q, 0), 513);
	expect_sector(at(&vm, DATA), 50);
	teardown();
}

static int64_t rng_kick(struct queue *q, int n, uint32_t flags)
{
	int64_t ret;

	for (int i = 0; i < n; i++)
		put(q, (struct piece[]){ IN(DATA, 8) }, 1);
	ret = kick_flags(q, flags);
	for (int i = 0; i < n; i++)
		CHECK_EQ(answer(q).len, 8);
	CHECK(!answered(q));
	return ret;
}

/* Does one more fire?  By both ways of telling. */
static void expect_told(struct queue *q, int n, bool want)
{
	channel_take(&vm, q->channel);
	CHECK_EQ(rng_kick(q, n, HCALL_KICK_TELL), want);
	CHECK(!channel_take(&vm, q->channel));
	CHECK_EQ(kick_flags(q, HCALL_KICK_TELL), 0);
}

static void expect_fired(struct queue *q, int n, bool want)
{
	channel_take(&vm, q->channel);
	CHECK_EQ(rng_kick(q, n, 0), 0);
	CHECK_EQ(channel_take(&vm, q->channel), want);
	CHECK_EQ(kick_flags(q, 0), 0);
	CHECK(!channel_take(&vm, q->channel));
}

static void interrupts(void)
{
	volatile uint16_t *used_event, *avail_event;
	struct queue q;

	setup();
	q = start(RNG, 8, 0);
	CHECK_EQ(kick_flags(&q, HCALL_KICK_TELL), 0);
	expect_told(&q, 1, true);
	expect_fired(&q, 1, true);
	expect_told(&q, 3, true);
	q.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	expect_told(&q, 1, false);
	expect_fired(&q, 3, false);
	q.avail->flags = 0;
	/* Not for what came while it did not want to hear. */
	CHECK_EQ(kick_flags(&q, HCALL_KICK_TELL), 0);
	expect_fired(&q, 1, true);
	/* The used ring's flags and events are not ours without EVENT_IDX. */
	CHECK_EQ(q.used->flags, 0);
	CHECK_EQ(*(uint16_t *)at(&vm, q.device + 4 + 8 * 8), 0);

	q = start(RNG, 8, F_EVENT);
	used_event = &q.avail->ring[8];
	avail_event = at(&vm, q.device + 4 + 8 * 8);
	*used_event = 0;
	expect_told(&q, 1, true);
	CHECK_EQ(*avail_event, 1);
	expect_told(&q, 1, false);
	CHECK_EQ(*avail_event, 2);
	*used_event = 4;
	expect_fired(&q, 2, false); /* 4 are used */
	expect_fired(&q, 1, true); /* the fifth */
	expect_told(&q, 1, false);
	CHECK_EQ(*avail_event, 6);
	*used_event = 8;
	expect_told(&q, 2, false);
	expect_told(&q, 5, true); /* 8 is among them */
	CHECK_EQ(*avail_event, 13);
	/* flags means nothing then. */
	q.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	*used_event = 13;
	expect_told(&q, 1, true);
	*used_event = 13; /* long past */
	expect_fired(&q, 8, false);
	*used_event = q.next - 1;
	expect_fired(&q, 8, false);
	*used_event = q.next;
	expect_fired(&q, 8, true);
	teardown();
}

/* The indices have 16 bits. */
static void wrap(void)
{
	static const uint32_t sizes[] = { 2, 1, 256 };
	volatile uint16_t *event;
	uint32_t todo, fired = 0;
	struct queue q;

	setup();
	for (int i = 0; i < 3; i++) {
		uint32_t n = sizes[i] == 256 ? 200 : sizes[i];

		/* The last with as many as there are, beyond 65,536 twice. */
		q = start(RNG, sizes[i], i ? F_EVENT : 0);
		event = &q.avail->ring[sizes[i]];
		for (todo = i == 2 ? 140000
			    : i	   ? 1000
				   : 66000;
		     todo > n; todo -= n) {
			for (uint32_t k = 0; k < n; k++)
				put(&q, (struct piece[]){ IN(DATA, 1 + k) }, 1);
			if (i)
				*event = q.next - 1;
			CHECK_EQ(kick_flags(&q, HCALL_KICK_TELL), 1);
			fired++;
			for (uint32_t k = 0; k < n; k++) {
				struct vring_used_elem e;

				CHECK(answered(&q));
				e = q.used->ring[q.seen++ % q.size];
				CHECK_EQ(e.len, 1 + k);
			}
			CHECK(!answered(&q));
		}
	}
	printf("# %u kicks\n", fired);
	CHECK(!channel_take(&vm, q.channel));
	teardown();
}

static void dirty_log(void)
{
	static uint64_t bitmap[RAM_BYTES / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	struct queue q, w;
	uint64_t ring, avail, data;

	setup_disk(0);
	vm_slot(&vm, 1, RAM, vm.ram, RAM_BYTES, KVM_MEM_LOG_DIRTY_PAGES);
	q = start(RNG, 8, F_EVENT);
	ring = (q.device - RAM) / 4096;
	avail = (q.driver - RAM) / 4096;
	data = (DATA - RAM) / 4096;
#define DIRTY(page) (bitmap[(page) / 64] >> (page) % 64 & 1)
	/* Nothing to do, but where the next kick is wanted is written. */
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK_EQ(kick(&q), 0);
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK(DIRTY(ring));
	put(&q, (struct piece[]){ IN(DATA + 4000, 200) }, 1);
	CHECK_EQ(kick(&q), 0);
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK(DIRTY(ring) && DIRTY(data) && DIRTY(data + 1));
	CHECK(!DIRTY(avail) && !DIRTY(ring - 2) && !DIRTY(data + 2));
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK(all_are(bitmap, 0, sizeof(bitmap)));
	/* The same by workers. */
	w = start(BLK, 8, BIT(VIRTIO_BLK_F_FLUSH));
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK_EQ(blk(&w, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	CHECK(channel_fires(&vm, w.channel));
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK(DIRTY((w.device - RAM) / 4096) && DIRTY((STATUS - RAM) / 4096));
	/* In pieces. */
	CHECK_EQ(blk(&w, VIRTIO_BLK_T_IN, 0,
		     (struct piece[]){ IN(DATA + 8192 + 4095, 1),
				       IN(DATA + 5 * 4096, 511) },
		     2),
		 VIRTIO_BLK_S_OK);
	NEED(!ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log));
	CHECK(DIRTY(data + 2) && DIRTY(data + 5));
	CHECK(!DIRTY(data + 3) && !DIRTY(data + 4) && !DIRTY(data + 6));
#undef DIRTY
	teardown();
}

/* ---- Drivers that lie ---------------------------------------------------------- */

static void desc(struct queue *q, uint16_t i, uint64_t gpa, uint32_t len,
		 uint16_t flags, uint16_t next)
{
	q->table[i] = (struct vring_desc){ gpa, len, flags, next };
}

#define NEXT  VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define TABLE VRING_DESC_F_INDIRECT

/* An honest request is in descriptors 0 to 2.  Return: false: there is no such lie. */
static bool lie(struct queue *q, int which, bool *honest)
{
	struct vring_desc *table = at(&vm, INDIRECT);
	uint16_t idx = 1, head = 0;

	*honest = false;
	switch (which) {
	case 0: /* it is none */
		*honest = true;
		break;
	case 1: /* loops */
		desc(q, 0, HEAD, 16, NEXT, 0);
		break;
	case 2:
		desc(q, 2, STATUS, 1, WRITE | NEXT, 0);
		break;
	case 3:
		desc(q, 2, STATUS, 1, WRITE | NEXT, 2);
		break;
	case 4: /* out of range */
		q->table[1].next = 8;
		break;
	case 5:
		q->table[1].next = 65535;
		break;
	case 6:
		head = 8;
		break;
	case 7:
		head = 65535;
		break;
	case 8: /* too far ahead */
		idx = 9;
		break;
	case 9:
		idx = 65535;
		break;
	case 10: /* nothing */
		q->table[1].len = 0;
		break;
	case 11:
		q->table[0].len = 0;
		break;
	case 12: /* order */
		desc(q, 1, DATA, 512, WRITE | NEXT, 2);
		desc(q, 2, STATUS, 1, 0, 0);
		break;
	case 13: /* a table in a table */
		desc(q, 1, INDIRECT, 32, TABLE, 0);
		table[0] = (struct vring_desc){ INDIRECT + 64, 16, TABLE, 0 };
		table[4] = (struct vring_desc){ DATA, 513, WRITE, 0 };
		break;
	case 14: /* lengths of tables */
		desc(q, 1, INDIRECT, 0, TABLE, 0);
		break;
	case 15:
		desc(q, 1, INDIRECT, 15, TABLE, 0);
		break;
	case 16:
		desc(q, 1, INDIRECT, 17, TABLE, 0);
		break;
	case 17:
		desc(q, 1, INDIRECT, 257 * 16, TABLE, 0);
		break;
	case 18:
		desc(q, 1, INDIRECT, -16, TABLE, 0);
		break;
	case 19: /* a table, and more */
		desc(q, 1, INDIRECT, 16, TABLE | NEXT, 2);
		table[0] = (struct vring_desc){ DATA, 512, WRITE, 0 };
		break;
	case 20:
		desc(q, 1, HOLE, 16, TABLE, 0);
		break;
	case 21:
		desc(q, 1, -16, 32, TABLE, 0);
		break;
	case 22:
		desc(q, 1, HOLE - 16, 32, TABLE, 0);
		table = at(&vm, HOLE - 16);
		table[0] = (struct vring_desc){ DATA, 512, WRITE | NEXT, 1 };
		break;
	case 23: /* loops and ends in tables */
		desc(q, 1, INDIRECT, 32, TABLE, 0);
		table[0] = (struct vring_desc){ DATA, 512, WRITE | NEXT, 1 };
		table[1] = (struct vring_desc){ STATUS, 1, WRITE | NEXT, 0 };
		break;
	case 24:
		desc(q, 1, INDIRECT, 32, TABLE, 0);
		table[0] = (struct vring_desc){ DATA, 512, WRITE | NEXT, 1 };
		table[1] = (struct vring_desc){ STATUS, 1, WRITE | NEXT, 2 };
		table[2] = (struct vring_desc){ STATUS, 1, WRITE, 0 };
		break;
	case 25: /* 4 GiB */
		desc(q, 1, DATA, -1, WRITE | NEXT, 2);
		break;
	case 26:
		desc(q, 0, HEAD, -1, NEXT, 1);
		desc(q, 1, HEAD, 1, NEXT, 2);
		break;
	case 27: /* no memory */
		q->table[0].addr = HOLE;
		break;
	case 28:
		q->table[0].addr = HOLE - 15;
		break;
	case 29:
		q->table[0].addr = -1;
		break;
	case 30:
		q->table[1].addr = HOLE;
		break;
	case 31:
		q->table[1].addr = HOLE - 511;
		break;
	case 32:
		q->table[1].addr = -512;
		break;
	case 33:
		q->table[1].addr = 1ull << 52;
		break;
	case 34:
		q->table[1].addr = ROM;
		break;
	case 35:
		q->table[2].addr = HOLE;
		break;
	case 36:
		q->table[2].addr = ROM;
		break;
	case 37:
		q->table[2].addr = -1;
		break;
	case 38: /* no header, no status */
		q->table[0].len = 15;
		break;
	case 39:
		desc(q, 0, HEAD, 16, 0, 0);
		break;
	case 40:
		head = 2;
		break;
	case 41:
		head = 3;
		break;
	case 42: /* 257 pieces */
		desc(q, 0, HEAD, 16, NEXT, 1);
		desc(q, 1, INDIRECT, 256 * 16, TABLE, 0);
		for (int i = 0; i < 256; i++)
			table[i] = (struct vring_desc){
				DATA, 1, WRITE | (i < 255 ? NEXT : 0), i + 1
			};
		break;
	case 43: /* many that are honest, and then one */
		for (int i = 0; i < 7; i++)
			q->avail->ring[i] = 0;
		q->avail->ring[7] = 9;
		idx = 8;
		break;
	default:
		return false;
	}
	if (which != 43)
		q->avail->ring[0] = head;
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint16_t *)&q->avail->idx = idx;
	return true;
}

static struct queue lie_start(uint64_t bits)
{
	struct queue q = start(BLK, 8, bits);

	blk_head(HEAD, VIRTIO_BLK_T_IN, 70);
	desc(&q, 0, HEAD, 16, NEXT, 1);
	desc(&q, 1, DATA, 512, WRITE | NEXT, 2);
	desc(&q, 2, STATUS, 1, WRITE, 0);
	memset(at(&vm, INDIRECT), 0, 0x2000);
	channel_take(&vm, device(BLK).channel);
	return q;
}

/* It stands still until a reset, and only it. */
static void expect_broken(struct queue *q, struct queue *other)
{
	uint32_t config = device(q->dev).channel;

	CHECK_EQ(status(q->dev, GET), RUNNING | NEEDS_RESET);
	CHECK(channel_take(&vm, config));
	q->avail->idx = 0;
	CHECK_EQ(kick_flags(q, 0), -HCALL_EIO);
	CHECK_EQ(kick_flags(q, HCALL_KICK_TELL), -HCALL_EIO);
	CHECK_EQ(status(q->dev, GET), RUNNING | NEEDS_RESET);
	CHECK_EQ(status(q->dev, RUNNING | NEEDS_RESET | FAILED),
		 RUNNING | NEEDS_RESET | FAILED);
	CHECK(!channel_take(&vm, config));
	rng_works(other);
}

/* The same, seen by a worker. */
static void expect_broken_late(struct queue *q)
{
	CHECK_EQ(status(q->dev, GET), RUNNING | NEEDS_RESET);
	CHECK_EQ(kick_flags(q, 0), -HCALL_EIO);
}

static void lies(void)
{
	struct queue q, other;
	bool honest;
	int n = 0;

	setup_disk(0);
	other = start(RNG, 4, 0);
	for (int which = 0;; which++) {
		int64_t ret;

		q = lie_start(F_INDIRECT);
		if (!lie(&q, which, &honest))
			break;
		do {
			ret = kick_flags(&q, 0);
		} while (ret == -HCALL_EAGAIN);
		/* What only a worker sees. */
		for (int i = 0; !honest && !ret && i < 1000; i++) {
			usleep(1000);
			ret = kick_flags(&q, 0);
		}
		if (ret != (honest ? 0 : -HCALL_EIO))
			printf("# lie %d\n", which);
		CHECK_EQ(ret, honest ? 0 : -HCALL_EIO);
		if (honest)
			continue;
		expect_broken(&q, &other);
		n++;
		/* The same, told by a worker at DRIVER_OK. */
		device_start(BLK, F_INDIRECT);
		q = queue_new(BLK, 0, 8);
		desc(&q, 0, HEAD, 16, NEXT, 1);
		desc(&q, 1, DATA, 512, WRITE | NEXT, 2);
		desc(&q, 2, STATUS, 1, WRITE, 0);
		lie(&q, which, &honest);
		/* It may have been seen already. */
		CHECK_EQ(status(BLK, RUNNING) & ~NEEDS_RESET, RUNNING);
		CHECK(channel_fires(&vm, device(BLK).channel));
		expect_broken_late(&q);
		q = lie_start(0);
		blk_works(&q);
	}
	/* A table without the feature. */
	q = lie_start(0);
	lie(&q, 13, &honest);
	CHECK_EQ(kick_flags(&q, 0), -HCALL_EIO);
	printf("# %d lies\n", n);
	teardown();
}

/* Memory that goes: of the rings, of the data in a worker's hands. */
static void memory_goes(void)
{
	struct queue q, other, far;
	uint16_t head;

	setup_direct();
	other = start(RNG, 4, 0);
	device_start(BLK, 0);
	far = queue_at(BLK, 0, 8, RAM2 + 0x1000);
	device_go(BLK);
	blk_works(&far);
	channel_take(&vm, device(BLK).channel);
	vm_slot(&vm, 2, RAM2, NULL, 0, 0);
	CHECK_EQ(kick_flags(&far, 0), -HCALL_EIO);
	expect_broken(&far, &other);
	vm_slot(&vm, 2, RAM2, vm.ram2, RAM2_BYTES, 0);
	CHECK_EQ(kick_flags(&far, 0), -HCALL_EIO);
	far = start(BLK, 8, 0);
	blk_works(&far);
	/* Read-only is not enough. */
	device_start(BLK, 0);
	far = queue_at(BLK, 0, 8, RAM2 + 0x1000);
	device_go(BLK);
	vm_slot(&vm, 2, RAM2, NULL, 0, 0);
	vm_slot(&vm, 2, RAM2, vm.ram2, RAM2_BYTES, KVM_MEM_READONLY);
	CHECK_EQ(kick_flags(&far, 0), -HCALL_EIO);
	vm_slot(&vm, 2, RAM2, NULL, 0, 0);
	vm_slot(&vm, 2, RAM2, vm.ram2, RAM2_BYTES, 0);
	/* The data: a write that a worker has waits for the disk meanwhile. */
	q = start(BLK, 8, 0);
	frozen(true);
	blk_head(HEAD, VIRTIO_BLK_T_OUT, 0);
	memset(vm.ram2, 0x42, 8192);
	head = put(&q,
		   (struct piece[]){ OUT(HEAD, 16), OUT(RAM2, 4096),
				     IN(STATUS, 1) },
		   3);
	CHECK_EQ(kick(&q), 0);
	usleep(20000);
	CHECK(!answered(&q));
	frozen(false);
	CHECK_EQ(answer_for(&q, head), 1);
	/* The rings. */
	device_start(BLK, 0);
	far = queue_at(BLK, 0, 8, RAM2 + 0x1000);
	device_go(BLK);
	blk_head(HEAD, VIRTIO_BLK_T_FLUSH, 0);
	channel_take(&vm, device(BLK).channel);
	put(&far, (struct piece[]){ OUT(HEAD, 16), IN(STATUS, 1) }, 2);
	CHECK_EQ(kick_flags(&far, 0), 0);
	vm_slot(&vm, 2, RAM2, NULL, 0, 0);
	usleep(20000);
	CHECK_EQ(kick_flags(&far, 0), -HCALL_EIO);
	vm_slot(&vm, 2, RAM2, vm.ram2, RAM2_BYTES, 0);
	/* The launcher's own mapping. */
	device_start(BLK, 0);
	far = queue_at(BLK, 0, 8, RAM2 + 0x1000);
	device_go(BLK);
	NEED(!munmap(vm.ram2, 0x10000));
	CHECK_EQ(kick_flags(&far, 0), -HCALL_EIO);
	q = start(BLK, 8, 0);
	blk_works(&q);
	teardown();
}

/* ---- Garbage -------------------------------------------------------------------- */

static const uint32_t fuzzed[] = { BLK, BLK2, CONSOLE, INPUT, NET, NET2, RNG };
#define FUZZED 7

/* What each has to show, and where. */
static uint32_t fuzz_queues(uint32_t dev)
{
	return dev == NET2 ? 2 * PAIRS + 1 : 2;
}

static uint64_t fuzz_area(uint32_t dev, uint32_t i)
{
	return dev == NET2 ? AREA(16 + i) : AREA((dev >> 8) * 2 + i);
}

static atomic_bool fuzz_ends;
static atomic_long fuzz_binds, fuzz_kicks, fuzz_good, fuzz_bad, fuzz_moved;
static int disk_fd[2], pipe_fd[6][2]; /* console, input, net: in, out */

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static bool in_table(int64_t ret)
{
	static const int errors[] = {
		HCALL_EPERM,	  HCALL_EINTR,	   HCALL_EIO,	 HCALL_E2BIG,
		HCALL_EAGAIN,	  HCALL_ENOMEM,	   HCALL_EFAULT, HCALL_ENODEV,
		HCALL_EINVAL,	  HCALL_ENOSPC,	   HCALL_EROFS,	 HCALL_ERANGE,
		HCALL_EOPNOTSUPP, HCALL_ECANCELED, HCALL_ENOSYS
	};

	for (unsigned int i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (ret == -errors[i])
			return true;
	}
	return ret >= 0 && ret < HCALL_CHANNELS;
}

/* Guest memory that is not the guest's own code. */
static uint64_t any_gpa(uint64_t *seed)
{
	uint64_t r = rnd(seed), low = r >> 40 & 0xffff;

	switch (r % 32) {
	case 0:
		return HOLE - low % 600;
	case 1:
		return ROM + low;
	case 2:
		return RAM2 - low % 600;
	case 3:
		return 0 - low;
	case 4:
		return rnd(seed) | RAM;
	case 5:
		return AREA(r >> 16 & 15) + low % 0x3000;
	case 6:
	case 7:
	case 8:
		return TILES + low;
	case 9:
		return RAM2 + low;
	default:
		return DATA + (r >> 20 & 0x1fffff);
	}
}

static uint32_t any_len(uint64_t *seed)
{
	uint64_t r = rnd(seed);

	switch (r % 16) {
	case 0:
		return 0;
	case 1:
		return r >> 32;
	case 2:
		return 16;
	case 3:
		return 1;
	case 4:
		return 8;
	case 5:
	case 6:
	case 7:
	case 8:
		return (r >> 32) % 0x10000;
	default:
		return (1 + (r >> 32) % 8) * 512;
	}
}

static void any_desc(uint64_t *seed, struct vring_desc *d, uint32_t size)
{
	uint64_t r = rnd(seed);

	d->addr = any_gpa(seed);
	d->len = any_len(seed);
	d->flags = r % 64 == 0 ? r >> 32
			       : (r >> 8 & (NEXT | WRITE)) |
					 (r >> 16 & 15 ? 0 : TABLE);
	if (d->flags & TABLE && r >> 20 & 7) {
		d->addr = INDIRECT + (r >> 32 & 0xfff0);
		d->len = (1 + (r >> 48) % 20) * 16;
		d->flags = TABLE;
	}
	d->next = r >> 24 & 31 ? (r >> 40) % size : r >> 40;
}

/* A request as it should be, of any kind of device. */
static void plausible(uint64_t *seed, struct queue *q, uint32_t kind)
{
	uint64_t r = rnd(seed), head = HEAD + (r >> 32 & 0xff0);
	uint32_t dev = fuzzed[kind];
	static const uint32_t types[] = { 0, 0, 0, 1, 1, 4, 8, 11, 13, 99 };
	uint16_t at = r >> 44 & (q->size - 1), n = q->size - 1;
	uint16_t in = WRITE;

	if (q->size < 4)
		return;
	if (dev == NET2 &&
	    (q->index == 2 * PAIRS || (q->index == 2 && r & 1))) {
		uint64_t bytes = r >> 20 & 3 ? 4 : 1 + (r >> 24) % 16;
		uint8_t *p = byte_at(head);

		p[0] = r >> 28 & 15 ? 4 + (r >> 36 & 1) : r >> 40;
		p[1] = r >> 48 & 15 ? 0 : r >> 52;
		memset(p + 2, 0, 14);
		p[2] = r >> 56;
		if (r >> 60)
			p[2] %= PAIRS + 2;
		desc(q, at, head, p[0] == 5 && bytes == 4 ? 10 : bytes, NEXT,
		     (at + 1) & n);
		desc(q, (at + 1) & n, any_gpa(seed), 1, WRITE, 0);
	} else if (kind > 1) {
		if (dev != RNG && q->index % 2)
			in = 0;
		desc(q, at, any_gpa(seed), any_len(seed), in | NEXT,
		     (at + 1) & n);
		desc(q, (at + 1) & n, any_gpa(seed), any_len(seed), in, 0);
	} else {
		blk_head(head, types[r % 10], (r >> 20) % 300);
		in = types[r % 10] ? 0 : WRITE;
		desc(q, at, head, 16, NEXT, (at + 1) & n);
		desc(q, (at + 1) & n, any_gpa(seed), (1 + (r >> 50) % 9) * 512,
		     in | NEXT, (at + 2) & n);
		desc(q, (at + 2) & n, any_gpa(seed), 1, WRITE, 0);
	}
	q->avail->ring[q->avail->idx & n] = at;
	*(volatile uint16_t *)&q->avail->idx += 1;
}

static int64_t fuzz_call(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
			 uint64_t c, uint64_t d)
{
	int64_t ret;

	call_set(vcpu, nr, a, b, c, d);
	ret = call_run(vcpu);
	if (!in_table(ret)) {
		printf("# call %#x %#llx: %lld, exit %u\n", nr,
		       (unsigned long long)a, (long long)ret,
		       vcpu->run->exit_reason);
		fuzz_bad++;
	}
	return ret;
}

static void fuzz_set_up(struct vcpu *vcpu, uint64_t *seed, uint32_t dev)
{
	uint64_t info = INFO + 0x100 * (1 + (vcpu - vm.vcpu)), r = rnd(seed);
	uint64_t bits =
		VERSION_1 | (r & 1 ? F_INDIRECT : 0) | (r & 2 ? F_EVENT : 0) |
		(r & 4 ? MERGED : 0) |
		(dev == NET2 && r & 0x38 ? CONTROL | OFFLOADS : 0) |
		(dev == NET2 && r & 0x30 ? MQ : 0) |
		(dev == NET2 && !(r & 0x7c0) ? BIT(VIRTIO_NET_F_GUEST_CSUM)
					     : 0);
	struct hcall_virtio_queue queue;

	fuzz_call(vcpu, HCALL_VIRTIO_STATUS, dev, 3, 0, 0);
	if (fuzz_call(vcpu, HCALL_VIRTIO_FEATURES, dev, bits, 0, 0))
		fuzz_call(vcpu, HCALL_VIRTIO_FEATURES, dev, bits & ~MERGED, 0,
			  0);
	fuzz_call(vcpu, HCALL_VIRTIO_STATUS, dev, SET_UP, 0, 0);
	for (uint32_t i = 0; i < fuzz_queues(dev); i++) {
		uint64_t area = fuzz_area(dev, i);

		queue = (struct hcall_virtio_queue){
			.size = 1u << (rnd(seed) % 9),
			.channel = 600 + i,
			.desc = area,
			.driver = area + 0x1000,
			.device = area + 0x2000,
		};
		if (r >> 8 & 1)
			queue.size = 16;
		if (!(r >> 16 & 15))
			queue.driver = any_gpa(seed) & ~1ull;
		if (!(r >> 20 & 15))
			queue.device = any_gpa(seed) & ~3ull;
		if (!(r >> 24 & 15))
			queue.desc = any_gpa(seed) & ~15ull;
		*(volatile uint16_t *)at(&vm, area + 0x1002) = 0;
		memcpy(at(&vm, info), &queue, sizeof(queue));
		fuzz_call(vcpu, HCALL_VIRTIO_QUEUE, dev, i, info, 40);
	}
	fuzz_call(vcpu, HCALL_VIRTIO_STATUS, dev, RUNNING, 0, 0);
}

static void fuzz_step(struct vcpu *vcpu, uint64_t *seed)
{
	uint64_t r = rnd(seed);
	uint32_t kind = r % FUZZED, dev = fuzzed[kind];
	uint32_t i = (r >> 8 & 255) % fuzz_queues(dev);
	uint64_t area = fuzz_area(dev, i);
	struct queue q = {
		.index = i,
		.size = 16,
		.table = at(&vm, area),
		.avail = at(&vm, area + 0x1000),
	};
	int64_t ret;

	if (r >> 16 & 3) {
		for (int n = r >> 24 & 3; n >= 0; n--)
			plausible(seed, &q, kind);
	}
	if (!(r >> 18 & 7)) {
		for (int n = 0; n < 4; n++)
			any_desc(seed, &q.table[rnd(seed) % 16], 16);
		for (int n = 0; n < 4; n++)
			any_desc(seed,
				 (struct vring_desc *)at(
					 &vm, INDIRECT + (rnd(seed) & 0xfff0)),
				 20);
	}
	if (!(r >> 26 & 31))
		q.avail->ring[rnd(seed) % 17] = rnd(seed);
	if (!(r >> 32 & 31))
		*(volatile uint16_t *)&q.avail->idx += rnd(seed) % 20;
	if (!(r >> 37 & 31))
		q.avail->flags = rnd(seed);
	ret = fuzz_call(vcpu, HCALL_VIRTIO_KICK, dev, i, r >> 42 & 1, 0);
	fuzz_kicks++;
	if (ret >= 0)
		fuzz_good++;
	if (ret == -HCALL_EIO && r >> 48 & 1) {
		fuzz_call(vcpu, HCALL_VIRTIO_STATUS, dev, 0, 0, 0);
		fuzz_set_up(vcpu, seed, dev);
	} else if (ret == -HCALL_EINVAL || !(r >> 48 & 0xff)) {
		fuzz_set_up(vcpu, seed, dev);
	}
	if (!(r >> 56 & 15))
		fuzz_call(vcpu, HCALL_EVENT_NEXT, 0, 0, 0, 0);
}

struct fuzzer {
	pthread_t thread;
	struct vcpu *vcpu;
	uint64_t seed;
	uint64_t kicks;
};

static void *fuzz_thread(void *arg)
{
	struct fuzzer *f = arg;

	for (uint64_t i = 0; i < f->kicks && !fuzz_bad; i++)
		fuzz_step(f->vcpu, &f->seed);
	return NULL;
}

static int fuzz_add(uint32_t dev)
{
	int fd;

	switch (dev) {
	case BLK:
	case BLK2:
		fd = disk_fd[dev == BLK2];
		return vm_add(&vm, HCALL_CLASS_BLOCK, dev == BLK ? "a" : "b",
			      fd, -1, dev == BLK2 ? KVM_HCALL_ADD_DIRECT : 0);
	case CONSOLE:
		return vm_add(&vm, HCALL_CLASS_CONSOLE, "c", pipe_fd[1][1],
			      pipe_fd[0][0], 0);
	case INPUT:
		add_input(pipe_fd[3][1], pipe_fd[2][0]);
		return 0;
	case NET:
		return add_net(pipe_fd[5][1], pipe_fd[4][0], false, 1);
	case NET2:
		return add_net(tap, -1, true, PAIRS);
	}
	return 0;
}

/* Both sides of all pipes, and of the tap. */
static void fuzz_pipes(uint64_t *seed)
{
	static uint8_t data[0x10000];

	memset(data, 0xff, 12);
	data[TAPS_BYTE] = rnd(seed);
	NEED(send(host, data, 60 + rnd(seed) % 1400, 0) > 0);
	while (recv(host, data, sizeof(data), MSG_DONTWAIT) > 0)
		fuzz_moved++;

	for (int i = 0; i < 6; i++) {
		if (i % 2) {
			ssize_t n = read(pipe_fd[i][0], data, sizeof(data));

			if (n > 0)
				fuzz_moved += n;
		} else {
			uint64_t n = 14 + rnd(seed) % 2000;

			if (i == 2) {
				n &= ~7ull;
				memset(data, 0, n);
			}
			if (write(pipe_fd[i][1], data, n) < 0)
				NEED(errno == EAGAIN);
		}
	}
}

static void *fuzz_disturb(void *arg)
{
	struct fuzzer *f = arg, *others = f + 1;
	uint64_t r, next = now_ns();

	while (!fuzz_ends) {
		uint32_t dev;

		r = rnd(&f->seed);
		dev = fuzzed[r % FUZZED];
		fuzz_pipes(&f->seed);
		switch (r >> 8 & 7) {
		case 0:
			fuzz_call(f->vcpu, HCALL_VIRTIO_STATUS, dev, 0, 0, 0);
			break;
		case 1:
			if (dev == RNG || r >> 16 & 1)
				break;
			vm_remove(&vm, dev >> 8, dev & 255);
			NEED(fuzz_add(dev) == (int)(dev & 255));
			break;
		case 5:
			/* All requests that are meant well stay below. */
			NEED(!ftruncate(disk_fd[0],
					(310 + (r >> 16) % 1738) * 512));
			NEED(!ioctl(vm.hcall, KVM_HCALL_RESIZE,
				    &(struct kvm_hcall_resize){
					    .class_id = HCALL_CLASS_BLOCK }));
			break;
		case 2:
			vm_slot(&vm, 2, RAM2, NULL, 0, 0);
			vm_slot(&vm, 2, RAM2, vm.ram2, RAM2_BYTES,
				r >> 16 & 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
			break;
		case 3:
			vm_slot(&vm, 7, TILES + 3 * 4096, NULL, 0, 0);
			vm_slot(&vm, 7, TILES + 3 * 4096, vm.tiles + 12 * 4096,
				4096, 0);
			break;
		case 6:
			if (r >> 16 & 15)
				break;
			/* The others go on with a VM that has no calls. */
			close(vm.hcall);
			vm_bind(&vm);
			for (int i = 0; i < FUZZED - 1; i++)
				NEED(fuzz_add(fuzzed[i]) ==
				     (int)(fuzzed[i] & 255));
			fuzz_binds++;
			break;
		case 4:
			fuzz_call(f->vcpu, HCALL_VIRTIO_KICK, dev, 0, 0, 0);
			fuzz_call(f->vcpu, HCALL_VIRTIO_CONFIG_READ, dev, 0,
				  INFO + 0x800, 20);
			fuzz_call(f->vcpu, HCALL_VIRTIO_DEVICE, dev,
				  INFO + 0x800, 64, 0);
			break;
		default:
			pthread_kill(others[r >> 16 & 1].thread, SIGUSR1);
			break;
		}
		usleep(200 + (r >> 32) % 2000);
		if (now_ns() > next) {
			next = now_ns() + 5000000000u;
			printf("# %ld kicks, %ld without error, %ld bytes\n",
			       fuzz_kicks, fuzz_good, fuzz_moved);
		}
	}
	return NULL;
}

static void fuzz(void)
{
	uint64_t kicks = setting("KICKS", 50000);
	uint64_t seed = setting("SEED", 0x68636c6c);
	struct fuzzer f[3];
	const char *direct;
	struct queue q;

	harmless(SIGUSR1);
	atomic_store(&fuzz_ends, false);
	fuzz_binds = fuzz_kicks = fuzz_good = fuzz_bad = fuzz_moved = 0;
	setup_direct();
	vm_remove(&vm, HCALL_CLASS_BLOCK, 0);
	direct = path;
	disk_fd[1] = open(direct, O_RDWR | O_DIRECT);
	disk_fd[0] = open(make_disk("fuzz", 1 << 20), O_RDWR);
	NEED(disk_fd[0] >= 0 && disk_fd[1] >= 0);
	for (int i = 0; i < 6; i++) {
		NEED(!pipe2(pipe_fd[i], O_CLOEXEC | (i < 4 ? 0 : O_DIRECT)));
		NEED(!fcntl(pipe_fd[i][i % 2 ? 0 : 1], F_SETFL,
			    O_NONBLOCK | (i < 4 ? 0 : O_DIRECT)));
	}
	taps_setup();
	for (int i = 0; i < FUZZED - 1; i++)
		NEED(fuzz_add(fuzzed[i]) == (int)(fuzzed[i] & 255));
	for (int i = 0; i < 3; i++) {
		f[i].vcpu = &vm.vcpu[i];
		f[i].seed = seed + i * 0x9e3779b97f4a7c15u;
		f[i].kicks = kicks / 2;
	}
	for (int i = 1; i < 3; i++)
		NEED(!pthread_create(&f[i].thread, NULL, fuzz_thread, &f[i]));
	NEED(!pthread_create(&f[0].thread, NULL, fuzz_disturb, &f[0]));
	for (int i = 1; i < 3; i++)
		NEED(!pthread_join(f[i].thread, NULL));
	atomic_store(&fuzz_ends, true);
	NEED(!pthread_join(f[0].thread, NULL));
	printf("# %ld kicks, %ld without error, %ld bytes, %ld times bound\n",
	       fuzz_kicks, fuzz_good, fuzz_moved, fuzz_binds);
	CHECK_EQ(fuzz_bad, 0);
	/* All of them still work. */
	for (int i = 0; i < FUZZED; i++)
		device_start(fuzzed[i], 0);
	q = start(RNG, 8, 0);
	rng_works(&q);
	q = start(BLK, 8, 0);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0, (struct piece[]){ IN(DATA, 4096) },
		     1),
		 VIRTIO_BLK_S_OK);
	teardown();
	taps_teardown();
	unlink(direct);
	for (int i = 0; i < 6; i++) {
		close(pipe_fd[i][0]);
		close(pipe_fd[i][1]);
	}
	close(disk_fd[0]);
	close(disk_fd[1]);
}

/* ---- At the same time ------------------------------------------------------------ */

/* A disk of eight sectors that can stand still, below all file systems. */
static void stands(bool still)
{
	NEED(!system(still ? "dmsetup suspend --noudevsync --nolockfs "
			     "hcall-broken"
			   : "dmsetup resume --noudevsync hcall-broken"));
}

static struct queue setup_still(void)
{
	setup();
	path = need_env("HCALL_BROKEN");
	CHECK_EQ(vm_disk(&vm, "disk", path, KVM_HCALL_ADD_DIRECT), 0);
	return start(BLK, 256, BIT(VIRTIO_BLK_F_FLUSH));
}

/* Reads of 4 KiB that are in workers' hands, and behind them. */
static void fill_workers(struct queue *q, int n)
{
	memset(at(&vm, DATA), 0xee, n * 4096);
	for (int i = 0; i < n; i++) {
		uint64_t head = HEAD + 0x1000 + i * 32;

		blk_head(head, VIRTIO_BLK_T_IN, 0);
		((uint8_t *)at(&vm, head))[16] = 0xee;
		put(q,
		    (struct piece[]){ OUT(head, 16), IN(DATA + i * 4096, 4096),
				      IN(head + 16, 1) },
		    3);
	}
	CHECK_EQ(kick_flags(q, 0), 0);
	usleep(50000);
	CHECK(!answered(q));
}

/*
 * A disk that takes its time: as many requests as the queue holds are on their way,
 * and no worker waits for them.
 */
static void blk_in_flight(void)
{
	static const struct {
		uint32_t type, sector;
		uint8_t status;
	} kinds[] = {
		{ VIRTIO_BLK_T_IN, 3, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_OUT, 5, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, 8, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 9, VIRTIO_BLK_S_IOERR },
	};
	struct kvm_hcall_stats before, after;
	bool seen[256] = {};
	struct piece data;
	struct queue q, other;
	char name[128];
	int n = 84, fd;

	snprintf(name, sizeof(name), "%s/other", need_env("HCALL_EXT4"));
	fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0);
	for (int i = 0; i < 256; i++)
		NEED(write(fd, "0123456789abcdef", 16) == 16);
	NEED(!fsync(fd));
	close(fd);
	q = setup_still();
	CHECK_EQ(vm_disk(&vm, "other", name, KVM_HCALL_ADD_DIRECT), 1);
	device_start(BLK2, 0);
	other = queue_at(BLK2, 0, 8, AREA(15));
	device_go(BLK2);
	data = (struct piece)OUT(DATA, 512);
	memset(at(&vm, DATA), 0x33, 512);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_OUT, 3, &data, 1), VIRTIO_BLK_S_OK);

	before = vm_stats(&vm, HCALL_CLASS_BLOCK);
	stands(true);
	for (int i = 0; i < n; i++) {
		uint64_t head = HEAD + 0x1000 + i * 32;
		bool in = kinds[i % 4].type == VIRTIO_BLK_T_IN;
		uint64_t sector = DATA + 0x10000 + i * 4096;

		blk_head(head, kinds[i % 4].type, kinds[i % 4].sector);
		((uint8_t *)at(&vm, head))[16] = 0xee;
		memset(at(&vm, sector), in ? 0xee : 0x55, 512);
		put(&q,
		    (struct piece[]){
			    OUT(head, 16),
			    { sector, 512, in ? VRING_DESC_F_WRITE : 0 },
			    IN(head + 16, 1) },
		    3);
	}
	CHECK_EQ(kick_flags(&q, 0), 0);
	usleep(50000);
	CHECK(!answered(&q));
	/* The calls have begun, and are none yet. */
	after = vm_stats(&vm, HCALL_CLASS_BLOCK);
	CHECK_EQ(after.calls, before.calls);
	/* Another disk is not kept waiting by them. */
	data = (struct piece)IN(DATA, 4096);
	for (int i = 0; i < 8; i++) {
		memset(at(&vm, DATA), 0, 4096);
		CHECK_EQ(blk(&other, VIRTIO_BLK_T_IN, 0, &data, 1),
			 VIRTIO_BLK_S_OK);
		CHECK(!memcmp(at(&vm, DATA + 4080), "0123456789abcdef", 16));
	}
	CHECK(!answered(&q));
	stands(false);
	for (int i = 0; i < n; i++) {
		struct vring_used_elem e = answer(&q);
		uint32_t at_ = (e.id + 256 - 3) % 256 / 3;
		bool in;

		CHECK(e.id % 3 == 0 && at_ < (uint32_t)n && !seen[at_]);
		seen[at_] = true;
		in = kinds[at_ % 4].type == VIRTIO_BLK_T_IN;
		CHECK_EQ(e.len, in ? 513 : 1);
		CHECK_EQ(*(uint8_t *)at(&vm, HEAD + 0x1000 + at_ * 32 + 16),
			 kinds[at_ % 4].status);
		if (at_ % 4 == 0)
			CHECK(all_are(at(&vm, DATA + 0x10000 + at_ * 4096),
				      0x33, 512));
	}
	after = vm_stats(&vm, HCALL_CLASS_BLOCK);
	CHECK_EQ(after.calls - before.calls, n + 8);
	CHECK_EQ(after.errors - before.errors, n / 2);
	CHECK_EQ(after.bytes - before.bytes, n / 2 * 512 + 8 * 4096);
	data = (struct piece)IN(DATA, 512);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 5, &data, 1), VIRTIO_BLK_S_OK);
	CHECK(all_are(at(&vm, DATA), 0x55, 512));
	unlink(name);
	teardown();
}

/* A reset waits for them, and can be interrupted; then nothing changes. */
static void reset_in_flight(void)
{
	const uint32_t bytes = 40 * 4096;
	struct queue q, other;
	uint8_t *before = malloc(bytes + 0x4000);
	struct vcpu *vcpu = &vm.vcpu[1];
	int64_t ret;

	NEED(before);
	q = setup_still();
	stands(true);
	fill_workers(&q, 40);
	other = start(RNG, 4, 0);
	rng_works(&other);
	memset(at(&vm, DATA), 0xee, 64);
	call_start(vcpu, HCALL_VIRTIO_STATUS, BLK, 0, 0, 0);
	CHECK(call_asleep(vcpu));
	CHECK_EQ(status(BLK, GET) & DRIVER_OK, 0);
	/* Who asks meanwhile waits as well, and can be interrupted. */
	call_interrupt(vcpu);
	ret = call_run(vcpu);
	CHECK_EQ(ret, -HCALL_EINTR);
	CHECK_EQ(queue_call(&q), -HCALL_EINVAL);
	CHECK_EQ(kick_flags(&q, 0), 0);
	call_start(vcpu, HCALL_VIRTIO_STATUS, BLK, 0, 0, 0);
	CHECK(call_asleep(vcpu));
	stands(false);
	ret = call_wait(vcpu);
	memcpy(before, at(&vm, DATA), bytes);
	memcpy(before + bytes, q.table, 0x4000);
	CHECK_EQ(ret, 0);
	usleep(100000);
	CHECK(!memcmp(before, at(&vm, DATA), bytes));
	CHECK(!memcmp(before + bytes, q.table, 0x4000));
	CHECK(!answered(&q));
	q = start(BLK, 8, 0);
	CHECK_EQ(blk(&q, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	free(before);
	teardown();
}

/* The same without a stop, many times: whenever it returns, all is quiet. */
static void resets(void)
{
	const uint32_t bytes = 64 * MANY_BYTES;
	uint8_t *before = malloc(bytes);
	struct queue q;
	int all = 0;

	NEED(before);
	setup_direct();
	for (int round = 0; round < 60; round++) {
		q = start(BLK, 256, 0);
		memset(at(&vm, MANY(0)), 0, bytes);
		for (int i = 0; i < 64; i++)
			put_many(&q, i, VIRTIO_BLK_T_IN);
		kick_flags(&q, 0);
		usleep(rand() % 3000);
		CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, BLK, 0, 0, 0), 0);
		memcpy(before, at(&vm, MANY(0)), bytes);
		all += q.used->idx;
		usleep(3000);
		CHECK(!memcmp(before, at(&vm, MANY(0)), bytes));
	}
	printf("# %d of %d answered\n", all, 60 * 64);
	free(before);
	teardown();
}

static void *remove_thread(void *arg)
{
	(void)arg;
	vm_remove(&vm, HCALL_CLASS_BLOCK, 0);
	return NULL;
}

static void remove_in_flight(void)
{
	struct queue q, other;
	pthread_t thread;

	q = setup_still();
	other = start(RNG, 4, 0);
	for (int round = 0; round < 5; round++) {
		stands(true);
		fill_workers(&q, 40);
		NEED(!pthread_create(&thread, NULL, remove_thread, NULL));
		usleep(20000);
		CHECK_EQ(good_call(DOOR_REGISTER, HCALL_VIRTIO_STATUS, BLK),
			 -HCALL_ENODEV);
		rng_works(&other);
		stands(false);
		NEED(!pthread_join(thread, NULL));
		CHECK_EQ(kick_flags(&q, 0), -HCALL_ENODEV);
		memset(at(&vm, DATA), 0xcd, 40 * 4096);
		usleep(20000);
		CHECK(all_are(at(&vm, DATA), 0xcd, 40 * 4096));
		/* The next one knows nothing of it. */
		CHECK_EQ(vm_disk(&vm, "disk", path, KVM_HCALL_ADD_DIRECT), 0);
		CHECK_EQ(status(BLK, GET), 0);
		q = start(BLK, 256, BIT(VIRTIO_BLK_F_FLUSH));
		CHECK_EQ(blk(&q, VIRTIO_BLK_T_IN, 0,
			     (struct piece[]){ IN(DATA, 4096) }, 1),
			 VIRTIO_BLK_S_OK);
	}
	teardown();
}

static void *close_thread(void *arg)
{
	(void)arg;
	close(vm.hcall);
	return NULL;
}

static void close_in_flight(void)
{
	for (int round = 0; round < 10; round++) {
		struct queue q = setup_still();
		pthread_t thread;

		stands(true);
		if (round % 2) {
			fill_workers(&q, 40);
		} else {
			/* In the hands of a worker that looks for more. */
			device_start(BLK, 0);
			q = queue_new(BLK, 0, 256);
			for (int i = 0; i < 80; i++) {
				blk_head(HEAD + i * 16, VIRTIO_BLK_T_IN, 0);
				put(&q,
				    (struct piece[]){ OUT(HEAD + i * 16, 16),
						      IN(DATA + i * 4096, 4096),
						      IN(STATUS + 0x1000, 1) },
				    3);
			}
			device_go(BLK);
		}
		/* Begun before: who starts it later might be the last to close. */
		NEED(!system("(sleep 0.05; dmsetup resume --noudevsync "
			     "hcall-broken) &"));
		NEED(!pthread_create(&thread, NULL, close_thread, NULL));
		NEED(!pthread_join(thread, NULL));
		vm.hcall = -1;
		CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, BLK, GET, 0, 0),
			 -HCALL_ENOSYS);
		teardown();
	}
}

/* The process dies while one of its threads waits for workers. */
static void killed_in_flight(void)
{
	for (int round = 0; round < 6; round++) {
		pid_t child;
		int ready[2], state, i;
		char byte;

		NEED(!pipe(ready));
		child = fork();
		NEED(child >= 0);
		if (!child) {
			struct queue q = setup_still();
			pthread_t thread;

			stands(true);
			fill_workers(&q, 40);
			if (round % 3 == 1)
				NEED(!pthread_create(&thread, NULL,
						     remove_thread, NULL));
			if (round % 3 == 2)
				NEED(!pthread_create(&thread, NULL,
						     close_thread, NULL));
			usleep(20000);
			NEED(write(ready[1], "x", 1) == 1);
			for (;;)
				pause();
		}
		NEED(read(ready[0], &byte, 1) == 1);
		NEED(!kill(child, SIGKILL));
		usleep(20000);
		stands(false);
		for (i = 0; i < 10000; i++) {
			if (waitpid(child, &state, WNOHANG) == child)
				break;
			usleep(1000);
		}
		CHECK(i < 10000);
		close(ready[0]);
		close(ready[1]);
	}
}

struct kicker {
	pthread_t thread;
	struct vcpu *vcpu;
	struct queue *q;
	atomic_long told, failed;
	int64_t error; /* the last */
};

static atomic_bool kick_ends;

static void *kick_thread(void *arg)
{
	struct kicker *k = arg;

	while (!kick_ends) {
		int64_t ret;

		call_set(k->vcpu, HCALL_VIRTIO_KICK, k->q->dev, k->q->index,
			 HCALL_KICK_TELL, 0);
		ret = call_run(k->vcpu);
		if (ret == 1)
			k->told++;
		if (ret >= 0 || ret == -HCALL_EAGAIN)
			continue;
		k->failed++;
		k->error = ret;
	}
	return NULL;
}

/* Two vCPUs kick what a third one fills: each request is answered once. */
static void two_kickers(void)
{
	struct kicker k[2] = {};
	struct queue q;
	uint32_t n = 20000;

	setup();
	q = start(RNG, 16, 0);
	atomic_store(&kick_ends, false);
	for (int i = 0; i < 2; i++) {
		k[i].vcpu = &vm.vcpu[1 + i];
		k[i].q = &q;
		NEED(!pthread_create(&k[i].thread, NULL, kick_thread, &k[i]));
	}
	for (uint32_t i = 0, out = 0; i < n;) {
		while (out - i < 16 && out < n) {
			put(&q, (struct piece[]){ IN(DATA, 1 + out % 100) }, 1);
			out++;
		}
		if (answered(&q)) {
			struct vring_used_elem e = answer(&q);

			CHECK_EQ(e.id, i % 16);
			CHECK_EQ(e.len, 1 + i % 100);
			i++;
		}
	}
	atomic_store(&kick_ends, true);
	for (int i = 0; i < 2; i++)
		NEED(!pthread_join(k[i].thread, NULL));
	CHECK_EQ(kick(&q), 0);
	CHECK(!answered(&q));
	printf("# told %ld and %ld times\n", k[0].told, k[1].told);
	CHECK_EQ(k[0].error, 0);
	CHECK_EQ(k[1].error, 0);
	CHECK_EQ(k[0].failed + k[1].failed, 0);
	CHECK(k[0].told + k[1].told > 0);
	teardown();
}

static const struct test tests[] = {
	{ "virtio.devices", devices },
	{ "virtio.states", states },
	{ "virtio.queue_arguments", queue_arguments },
	{ "virtio.config", config },
	{ "virtio.doors", doors },
	{ "virtio.blk_requests", blk_requests },
	{ "virtio.blk_segments", blk_segments },
	{ "virtio.blk_ranges", blk_ranges },
	{ "virtio.blk_readonly", blk_readonly },
	{ "virtio.blk_through", blk_through },
	{ "virtio.blk_workers", blk_workers },
	{ "virtio.blk_long", blk_long },
	{ "virtio.blk_memory", blk_memory },
	{ "virtio.blk_in_flight", blk_in_flight },
	{ "virtio.blk_resize", blk_resize },
	{ "virtio.blk_resize_in_flight", blk_resize_in_flight },
	{ "virtio.console", console },
	{ "virtio.console_full", console_full },
	{ "virtio.console_big", console_big },
	{ "virtio.rng", rng },
	{ "virtio.input", input },
	{ "virtio.net_pipes", net_pipes },
	{ "virtio.net_tap", net_tap },
	{ "virtio.net_pairs", net_pairs },
	{ "virtio.net_commands", net_commands },
	{ "virtio.net_offloads", net_offloads },
	{ "virtio.net_pairs_wait", net_pairs_wait },
	{ "virtio.net_pairs_lost", net_pairs_lost },
	{ "virtio.net_pairs_full", net_pairs_full },
	{ "virtio.net_pairs_change", net_pairs_change },
	{ "virtio.indirect", indirect },
	{ "virtio.interrupts", interrupts },
	{ "virtio.wrap", wrap },
	{ "virtio.dirty_log", dirty_log },
	{ "virtio.lies", lies },
	{ "virtio.memory_goes", memory_goes },
	{ "virtio.reset_in_flight", reset_in_flight },
	{ "virtio.resets", resets },
	{ "virtio.remove_in_flight", remove_in_flight },
	{ "virtio.close_in_flight", close_in_flight },
	{ "virtio.killed_in_flight", killed_in_flight },
	{ "virtio.two_kickers", two_kickers },
	{ "virtio.fuzz", fuzz },
};

KTAP_MAIN(tests)
