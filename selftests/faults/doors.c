// SPDX-License-Identifier: GPL-2.0
/*
 * What fails on the host below a guest's devices, memory and channels: by every door
 * the guest gets the error that abi.rst names, what was written before is there, and
 * all works again when the fault has ended.
 *
 * Wants the disks of with-disks, and makes of them what fails as it is told.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/uinput.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm.h"

#define INFO	    (RAM + 0x100u) /* what calls of class virtio read */
#define RING(i)	    (RAM + 0x10000u + (i)*0x4000u)
#define OPS	    (RAM + 0x8000u) /* a batch that may last */
#define HEAD(i)	    (RAM + 0x20000u + (i)*32u) /* a request's header, and status */
#define DATA	    (RAM + 0x100000u) /* a block for each request */
#define BLOCK	    8 /* sectors of each transfer */
#define BYTES	    (BLOCK * 512u)
#define QUEUED	    64u /* requests that a queue holds, of three descriptors */
#define RING_SIZE   256u

#define BLK	    HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, 0)
#define INPUT	    HCALL_VIRTIO_DEV(HCALL_CLASS_INPUT, 0)
#define NET	    HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 0)
#define BIT(n)	    (1ull << (n))
/* STATUS: ACKNOWLEDGE and DRIVER, then FEATURES_OK, then DRIVER_OK. */
#define FOUND	    3u
#define SET_UP	    11u
#define RUNNING	    15u
#define NEEDS_RESET 64u

/* What an answer to a request that has none yet is. */
#define UNANSWERED  0xee

static struct vm vm;

static const char *need_env(const char *name)
{
	const char *value = getenv(name);

	NEED(value);
	return value;
}

__attribute__((format(printf, 1, 2))) static void sh(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	NEED(!system(command));
}

static bool all_are(const void *p, uint8_t byte, uint64_t bytes)
{
	const uint8_t *b = p;

	return b[0] == byte && !memcmp(b, b + 1, bytes - 1);
}

/* ---- Virtqueues ---------------------------------------------------------------- */

struct queue {
	uint32_t dev, index, channel;
	struct vring_desc *table;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next, seen;
};

static void device_start(uint32_t dev, uint64_t features)
{
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, dev, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, dev, FOUND, 0, 0), FOUND);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_FEATURES, dev,
		      BIT(VIRTIO_F_VERSION_1) | features, 0, 0),
		 0);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, dev, SET_UP, 0, 0), SET_UP);
}

static struct queue queue_new(uint32_t dev, uint32_t index)
{
	uint64_t gpa = RING(index);
	struct queue q = {
		.dev = dev,
		.index = index,
		.channel = HCALL_CHANNEL_GUEST + index,
		.table = at(&vm, gpa),
		.avail = at(&vm, gpa + 0x1000),
		.used = at(&vm, gpa + 0x2000),
	};
	struct hcall_virtio_queue info = {
		.size = RING_SIZE,
		.channel = q.channel,
		.desc = gpa,
		.driver = gpa + 0x1000,
		.device = gpa + 0x2000,
	};

	memset(q.table, 0, 0x3000);
	memcpy(at(&vm, INFO), &info, sizeof(info));
	CHECK_EQ(call(&vm, HCALL_VIRTIO_QUEUE, dev, index, INFO, sizeof(info)),
		 0);
	return q;
}

static void device_go(uint32_t dev)
{
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, dev, RUNNING, 0, 0), RUNNING);
	usleep(10000); /* a worker looks at the queues now */
}

/* A request, in descriptors @at and behind it. */
static void publish(struct queue *q, uint16_t at, const struct vring_desc *desc,
		    int n)
{
	for (int i = 0; i < n; i++) {
		q->table[at + i] = desc[i];
		q->table[at + i].next = at + i + 1;
		if (i + 1 < n)
			q->table[at + i].flags |= VRING_DESC_F_NEXT;
	}
	q->avail->ring[q->next++ % RING_SIZE] = at;
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint16_t *)&q->avail->idx = q->next;
	atomic_thread_fence(memory_order_seq_cst);
}

static int64_t kick(struct queue *q)
{
	int64_t ret;

	do {
		ret = call(&vm, HCALL_VIRTIO_KICK, q->dev, q->index, 0, 0);
	} while (ret == -HCALL_EAGAIN || ret == -HCALL_EINTR);
	return ret;
}

static uint16_t answers(const struct queue *q)
{
	return *(volatile uint16_t *)&q->used->idx - q->seen;
}

/* Until there are @n answers more than were asked for; not longer than @ms. */
static bool answered(struct queue *q, uint16_t n, int ms)
{
	for (int i = 0; i < ms && answers(q) < n; i++)
		usleep(1000);
	if (answers(q) < n)
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	q->seen += n;
	return true;
}

/* ---- A disk by all doors --------------------------------------------------------- */

enum {
	DOOR_QUEUE = DOORS,
	ALL_DOORS
};

static struct queue disk;

static void disk_start(void)
{
	device_start(BLK, BIT(VIRTIO_BLK_F_FLUSH));
	disk = queue_new(BLK, 0);
	device_go(BLK);
}

static void setup(const char *path, bool direct)
{
	vm_new(&vm);
	vm_bind(&vm);
	CHECK_EQ(vm_disk(&vm, "disk", path, direct ? KVM_HCALL_ADD_DIRECT : 0),
		 0);
	disk_start();
}

static uint32_t virtio_type(uint32_t nr)
{
	return nr == HCALL_BLOCK_READ	 ? VIRTIO_BLK_T_IN
	       : nr == HCALL_BLOCK_WRITE ? VIRTIO_BLK_T_OUT
					 : VIRTIO_BLK_T_FLUSH;
}

/* Request @i, of those that are on their way; not kicked. */
static void request_at(uint32_t nr, uint32_t i, uint64_t sector, uint64_t gpa)
{
	struct virtio_blk_outhdr head = { virtio_type(nr), 0, sector };
	struct vring_desc desc[3];
	int n = 0;

	memcpy(at(&vm, HEAD(i)), &head, sizeof(head));
	*(uint8_t *)at(&vm, HEAD(i) + 16) = UNANSWERED;
	desc[n++] = (struct vring_desc){ .addr = HEAD(i), .len = 16 };
	if (nr != HCALL_BLOCK_FLUSH)
		desc[n++] = (struct vring_desc){
			.addr = gpa,
			.len = BYTES,
			.flags =
				nr == HCALL_BLOCK_READ ? VRING_DESC_F_WRITE : 0,
		};
	desc[n++] = (struct vring_desc){ .addr = HEAD(i) + 16,
					 .len = 1,
					 .flags = VRING_DESC_F_WRITE };
	publish(&disk, i * 3, desc, n);
}

static void request(uint32_t nr, uint32_t i, uint64_t sector)
{
	request_at(nr, i, sector, DATA + i * BYTES);
}

/* As the result of the call that the request stands for. */
static int64_t request_result(uint32_t nr, uint32_t i)
{
	uint8_t status = *(volatile uint8_t *)at(&vm, HEAD(i) + 16);

	if (status != VIRTIO_BLK_S_OK)
		return status == VIRTIO_BLK_S_IOERR ? -HCALL_EIO : -status;
	return nr == HCALL_BLOCK_FLUSH ? 0 : BLOCK;
}

/* What a virtqueue can say of an error. */
static int64_t as_told(int door, int64_t error)
{
	return door == DOOR_QUEUE ? -HCALL_EIO : error;
}

static int64_t transfer(int door, uint32_t nr, uint64_t sector)
{
	if (door != DOOR_QUEUE)
		return call_door(&vm, door, nr, 0, sector, DATA, BLOCK);
	request(nr, 0, sector);
	CHECK_EQ(kick(&disk), 0);
	CHECK(answered(&disk, 1, 10000));
	return request_result(nr, 0);
}

/* A block of @byte; its result. */
static int64_t wr(int door, uint64_t sector, uint8_t byte)
{
	memset(at(&vm, DATA), byte, BYTES);
	return transfer(door, HCALL_BLOCK_WRITE, sector);
}

static int64_t rd(int door, uint64_t sector)
{
	memset(at(&vm, DATA), UNANSWERED, BYTES);
	return transfer(door, HCALL_BLOCK_READ, sector);
}

static int64_t flush(int door)
{
	return transfer(door, HCALL_BLOCK_FLUSH, 0);
}

/* A block is there for the guest, by whatever door. */
static void expect_block(uint64_t sector, uint8_t byte)
{
	for (int door = 0; door < ALL_DOORS; door++) {
		CHECK_EQ(rd(door, sector), BLOCK);
		CHECK(all_are(at(&vm, DATA), byte, BYTES));
	}
}

/* What is in a file or on a device, whatever is in memory. */
static void host_expect(const char *path, uint64_t sector, uint8_t byte)
{
	static uint8_t data[BYTES] __attribute__((aligned(4096)));
	int fd = open(path, O_RDONLY | O_DIRECT);

	NEED(fd >= 0);
	NEED(pread(fd, data, BYTES, sector * 512) == BYTES);
	close(fd);
	CHECK(all_are(data, byte, BYTES));
}

/* Block @i of those that each door has written before something fails. */
#define BEFORE(door) ((door)*64u)
#define BYTE(door)   (0x10 + (door))

static void write_before(void)
{
	for (int door = 0; door < ALL_DOORS; door++) {
		CHECK_EQ(wr(door, BEFORE(door), BYTE(door)), BLOCK);
		CHECK_EQ(flush(door), 0);
	}
}

static void expect_before(void)
{
	for (int door = 0; door < ALL_DOORS; door++)
		expect_block(BEFORE(door), BYTE(door));
}

/* The fault has ended: by all doors, down to @path. */
static void expect_service(const char *path, uint64_t sector)
{
	for (int door = 0; door < ALL_DOORS; door++) {
		CHECK_EQ(wr(door, sector + door * 16, 0x80 + door), BLOCK);
		CHECK_EQ(flush(door), 0);
		host_expect(path, sector + door * 16, 0x80 + door);
	}
}

/* ---- Devices that fail -------------------------------------------------------------- */

#define DEVICE "/dev/mapper/hcall-fault"
#define LINEAR "0 8192 linear %s 0"

/* The device below becomes another one; %s is the loop device of with-disks. */
static void device_is(const char *table)
{
	char text[256];

	snprintf(text, sizeof(text), table, need_env("HCALL_LOOP"));
	sh("echo '%s' | dmsetup load hcall-fault && "
	   "dmsetup suspend --noudevsync --nolockfs hcall-fault && "
	   "dmsetup resume --noudevsync hcall-fault",
	   text);
}

static void device_new(void)
{
	sh("echo '0 8192 linear %s 0' | dmsetup create --noudevsync hcall-fault && "
	   "dmsetup mknodes hcall-fault",
	   need_env("HCALL_LOOP"));
}

static void device_free(void)
{
	sh("dmsetup remove --noudevsync --retry hcall-fault");
}

static void dm_error(void)
{
	static const struct {
		const char *table;
		bool reads_fail;
	} faults[] = {
		{ "0 8192 error", true },
		/* Always in its second interval. */
		{ "0 8192 flakey %s 0 0 3600 1 error_writes", false },
	};

	sh("modprobe dm-flakey");
	for (int i = 0; i < 3; i++) {
		bool direct = i != 1;

		device_new();
		setup(DEVICE, direct);
		write_before();
		device_is(faults[i / 2].table);
		for (int door = 0; door < ALL_DOORS; door++) {
			uint64_t sector = 1024 + door * 1024;

			/* Not near anything that is in memory. */
			if (faults[i / 2].reads_fail)
				CHECK_EQ(rd(door, sector), -HCALL_EIO);
			else if (direct)
				expect_before();
			if (direct) {
				CHECK_EQ(wr(door, BEFORE(door), 0xff),
					 -HCALL_EIO);
				continue;
			}
			/* Of what was written to memory the flush tells. */
			CHECK_EQ(wr(door, sector + 512, 0xff), BLOCK);
			CHECK_EQ(flush(door), -HCALL_EIO);
		}
		device_is(LINEAR);
		expect_before();
		expect_service(need_env("HCALL_LOOP"), 4096);
		vm_free(&vm);
		device_free();
	}
}

/* It says that it has written, and has not: no call can tell, nor does one fail. */
static void dm_drops(void)
{
	sh("modprobe dm-flakey");
	device_new();
	setup(DEVICE, true);
	write_before();
	device_is("0 8192 flakey %s 0 0 3600 1 drop_writes");
	for (int door = 0; door < ALL_DOORS; door++) {
		CHECK_EQ(wr(door, BEFORE(door), 0xff), BLOCK);
		CHECK_EQ(flush(door), 0);
	}
	expect_before();
	device_is(LINEAR);
	expect_before();
	expect_service(need_env("HCALL_LOOP"), 4096);
	vm_free(&vm);
	device_free();
}

/* ---- Devices that take their time ------------------------------------------------------ */

#define DELAY_MS 100u
#define DELAY	 "0 8192 delay %s 0 100"

static uint64_t ms_since(uint64_t ns)
{
	return (now_ns() - ns) / 1000000;
}

/* Of a batch that may last: read a block each, from sector 0 on. */
static void put_ops(uint32_t n)
{
	struct hcall_op *op = at(&vm, OPS);

	memset(op, 0, n * sizeof(*op));
	for (uint32_t i = 0; i < n; i++) {
		op[i].number = HCALL_BLOCK_READ;
		op[i].args[1] = i * BLOCK;
		op[i].args[2] = DATA + (QUEUED + i) * BYTES;
		op[i].args[3] = BLOCK;
	}
}

static void delay_in_flight(void)
{
	uint64_t begun;

	sh("modprobe dm-delay");
	device_new();
	setup(DEVICE, true);
	write_before();
	device_is(DELAY);
	for (int door = 0; door < ALL_DOORS; door++) {
		begun = now_ns();
		CHECK_EQ(rd(door, BEFORE(door)), BLOCK);
		CHECK(ms_since(begun) >= DELAY_MS);
		CHECK(all_are(at(&vm, DATA), BYTE(door), BYTES));
	}
	/* All of a queue at once: reads of what was, and writes of others. */
	begun = now_ns();
	for (uint32_t i = 0; i < QUEUED; i++) {
		bool read = i < ALL_DOORS;

		memset(at(&vm, DATA + i * BYTES), i, BYTES);
		request(read ? HCALL_BLOCK_READ : HCALL_BLOCK_WRITE, i,
			read ? BEFORE(i) : 2048 + i * BLOCK);
	}
	CHECK_EQ(kick(&disk), 0);
	CHECK(!answers(&disk));
	CHECK(answered(&disk, QUEUED, 10000));
	printf("# %u requests in %llu ms\n", QUEUED,
	       (unsigned long long)ms_since(begun));
	/* Those one after the other would be 6400. */
	CHECK(ms_since(begun) < QUEUED / 4 * DELAY_MS);
	device_is(LINEAR);
	for (uint32_t i = 0; i < QUEUED; i++) {
		CHECK_EQ(request_result(HCALL_BLOCK_READ, i), BLOCK);
		if (i < ALL_DOORS)
			CHECK(all_are(at(&vm, DATA + i * BYTES), BYTE(i),
				      BYTES));
		else
			host_expect(need_env("HCALL_LOOP"), 2048 + i * BLOCK,
				    i);
	}
	expect_service(need_env("HCALL_LOOP"), 4096);
	vm_free(&vm);
	device_free();
}

/*
 * Reset, REMOVE or close() at some moment while requests, an asynchronous batch and a
 * call are on their way: when it has returned, memory stays as it is.
 */
static void delay_taken_away(void)
{
	const uint64_t bytes = (QUEUED + 4) * BYTES;

	sh("modprobe dm-delay");
	device_new();
	device_is(DELAY);
	for (int round = 0; round < 6; round++) {
		bool ends = round % 3 == 2;

		setup(DEVICE, round % 2);
		for (uint32_t i = 0; i < QUEUED / 2; i++)
			request(HCALL_BLOCK_READ, i, i * BLOCK);
		CHECK_EQ(kick(&disk), 0);
		put_ops(4);
		CHECK_EQ(call(&vm, HCALL_SYS_BATCH, OPS, 4, HCALL_BATCH_ASYNC,
			      DOOR_CHANNEL),
			 4);
		call_start(&vm.vcpu[1], HCALL_BLOCK_READ, 0, 4096,
			   DATA + (QUEUED + 8) * BYTES, BLOCK);
		usleep(rand() % (2 * DELAY_MS * 1000));
		if (round % 3 == 0) {
			CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, BLK, 0, 0, 0),
				 0);
			CHECK(channel_fires(&vm, DOOR_CHANNEL));
		} else if (round % 3 == 1) {
			vm_remove(&vm, HCALL_CLASS_BLOCK, 0);
			CHECK(channel_fires(&vm, DOOR_CHANNEL));
		} else {
			close(vm.hcall);
		}
		memset(at(&vm, DATA), 0xcd, bytes);
		usleep(2 * DELAY_MS * 1000);
		CHECK(all_are(at(&vm, DATA), 0xcd, bytes));
		CHECK_EQ(call_wait(&vm.vcpu[1]), BLOCK);
		if (ends) {
			vm_bind(&vm);
			CHECK_EQ(vm_disk(&vm, "disk", DEVICE, 0), 0);
		} else if (round % 3 == 1) {
			CHECK_EQ(vm_disk(&vm, "disk", DEVICE,
					 KVM_HCALL_ADD_DIRECT),
				 0);
		}
		disk_start();
		for (int door = 0; door < ALL_DOORS; door++)
			CHECK_EQ(rd(door, 512), BLOCK);
		vm_free(&vm);
	}
	device_is(LINEAR);
	device_free();
}

/* ---- What stands still ------------------------------------------------------------------- */

#define SLOW (DATA + BYTES)

static bool vcpu_waits;

/*
 * Begin a block's transfer by @door, which may not end, on vCPU 1.  That is kept by a call,
 * and by a virtqueue only if it writes to the host's page cache.
 */
static void begin(int door, bool direct, uint32_t nr, uint64_t sector,
		  uint64_t gpa)
{
	struct hcall_op *op = at(&vm, OPS);
	struct vcpu *vcpu = &vm.vcpu[1];

	memset(op, 0, sizeof(*op));
	op->number = nr;
	op->args[1] = sector;
	op->args[2] = gpa;
	op->args[3] = BLOCK;
	switch (door) {
	case DOOR_REGISTER:
		call_start(vcpu, nr, 0, sector, gpa, BLOCK);
		break;
	case DOOR_BATCH:
		call_start(vcpu, HCALL_SYS_BATCH, OPS, 1, 0, 0);
		break;
	case DOOR_ASYNC:
		call_start(vcpu, HCALL_SYS_BATCH, OPS, 1, HCALL_BATCH_ASYNC,
			   DOOR_CHANNEL);
		break;
	default:
		request_at(nr, 1, sector, gpa);
		call_start(vcpu, HCALL_VIRTIO_KICK, BLK, 0, 0, 0);
		break;
	}
	vcpu_waits = door == DOOR_REGISTER || door == DOOR_BATCH ||
		     (door == DOOR_QUEUE && !direct && nr == HCALL_BLOCK_WRITE);
	if (!vcpu_waits)
		CHECK(call_ended(vcpu, 5000));
}

/* Has it been answered?  Then do not end() it. */
static bool ended(int door)
{
	if (vcpu_waits)
		return call_ended(&vm.vcpu[1], 0);
	return door == DOOR_ASYNC ? channel_take(&vm, DOOR_CHANNEL)
				  : answers(&disk);
}

/* It comes to its end.  Return: its result. */
static int64_t end(int door, uint32_t nr)
{
	struct hcall_op *op = at(&vm, OPS);
	int64_t ret = vcpu_waits ? call_wait(&vm.vcpu[1]) : vm.vcpu[1].result;

	switch (door) {
	case DOOR_REGISTER:
		return ret;
	case DOOR_ASYNC:
		CHECK(channel_fires(&vm, DOOR_CHANNEL));
		/* fallthrough */
	case DOOR_BATCH:
		CHECK_EQ(ret, 1);
		CHECK_EQ(op->flags, HCALL_OP_DONE);
		return op->result;
	default:
		CHECK_EQ(ret, 0);
		CHECK(answered(&disk, 1, 10000));
		return request_result(nr, 1);
	}
}

/* What is in the host's memory, and on disk as well. */
static void forget_pages(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	NEED(fd >= 0 && write(fd, "1", 1) == 1);
	close(fd);
}

static void dm_suspended(void)
{
	for (int direct = 0; direct < 2; direct++) {
		device_new();
		setup(DEVICE, direct);
		write_before();
		for (int door = 0; door < ALL_DOORS; door++) {
			uint64_t sector = 1024 + door * 1024;

			CHECK_EQ(wr(DOOR_REGISTER, sector, 0x44), BLOCK);
			CHECK_EQ(flush(DOOR_REGISTER), 0);
			sh("dmsetup suspend --noudevsync --nolockfs hcall-fault");
			forget_pages();
			begin(door, direct, HCALL_BLOCK_READ, sector, SLOW);
			usleep(50000);
			CHECK(!ended(door));
			CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, INFO, 8, 0, 0), 8);
			sh("dmsetup resume --noudevsync hcall-fault");
			CHECK_EQ(end(door, HCALL_BLOCK_READ), BLOCK);
			CHECK(all_are(at(&vm, SLOW), 0x44, BYTES));
		}
		expect_before();
		expect_service(need_env("HCALL_LOOP"), 6144);
		vm_free(&vm);
		device_free();
	}
}

static char *ext4_file(const char *name, uint64_t bytes)
{
	static char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", need_env("HCALL_EXT4"), name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0 && !ftruncate(fd, bytes) && !fsync(fd));
	close(fd);
	return path;
}

static void freeze(bool on)
{
	int fd = open(need_env("HCALL_EXT4"), O_RDONLY);

	NEED(fd >= 0);
	NEED(!ioctl(fd, on ? FIFREEZE : FITHAW, 0));
	close(fd);
}

static void frozen(void)
{
	const char *path = ext4_file("frozen", 4 << 20);

	for (int direct = 0; direct < 2; direct++) {
		setup(path, direct);
		write_before();
		for (int door = 0; door < ALL_DOORS; door++) {
			uint64_t sector = 1024 + door * 1024 + direct * 512;

			freeze(true);
			memset(at(&vm, SLOW), 0x55, BYTES);
			begin(door, direct, HCALL_BLOCK_WRITE, sector, SLOW);
			usleep(50000);
			CHECK(!ended(door));
			/* Reading goes on. */
			CHECK_EQ(rd(DOOR_REGISTER, BEFORE(0)), BLOCK);
			CHECK_EQ(rd(DOOR_BATCH, BEFORE(1)), BLOCK);
			CHECK(all_are(at(&vm, DATA), BYTE(1), BYTES));
			freeze(false);
			CHECK_EQ(end(door, HCALL_BLOCK_WRITE), BLOCK);
			CHECK_EQ(flush(door), 0);
			host_expect(path, sector, 0x55);
		}
		expect_before();
		expect_service(path, 6144);
		vm_free(&vm);
	}
	unlink(path);
}

/* ---- No space ------------------------------------------------------------------------- */

static int64_t zeroes(int door, uint64_t sector)
{
	return call_door(&vm, door, HCALL_BLOCK_WRITE_ZEROES, 0, sector, BLOCK,
			 0);
}

static void no_space_ext4(void)
{
	const char *path = ext4_file("space", 4 << 20);
	const char *dir = need_env("HCALL_EXT4");

	for (int direct = 0; direct < 2; direct++) {
		setup(path, direct);
		write_before();
		/* What was reserved for too much comes back with a sync. */
		sh("cd %s && fallocate -l 44M filler0 && for i in 1 2 3; do "
		   "dd if=/dev/zero of=filler$i bs=$((i == 1 ? 65536 : 4096)) 2>/dev/null; "
		   "sync -f .; done",
		   dir);
		for (int door = 0; door < ALL_DOORS; door++) {
			uint64_t sector = 1024 + door * 1024 + direct * 512;

			CHECK_EQ(wr(door, sector, 0xff),
				 as_told(door, -HCALL_ENOSPC));
			if (door != DOOR_QUEUE)
				CHECK_EQ(zeroes(door, sector), -HCALL_ENOSPC);
			expect_block(sector, 0);
			/* What is there already can be written to. */
			CHECK_EQ(wr(door, BEFORE(door), BYTE(door)), BLOCK);
			CHECK_EQ(flush(door), 0);
		}
		expect_before();
		sh("rm %s/filler* && sync -f %s", dir, dir);
		expect_service(path, 6144 + direct * 512);
		expect_before();
		vm_free(&vm);
	}
	unlink(path);
}

static void no_space_tmpfs(void)
{
	const char *path = need_env("HCALL_FULL");

	sh("truncate -s 600K $(dirname %s)/filler", path);
	setup(path, false);
	write_before();
	sh("cd $(dirname %s) && ! dd if=/dev/zero of=filler2 bs=4k 2>/dev/null",
	   path);
	for (int door = 0; door < ALL_DOORS; door++) {
		CHECK_EQ(wr(door, 512 + door * 16, 0xff),
			 as_told(door, -HCALL_ENOSPC));
		expect_block(512 + door * 16, 0);
	}
	expect_before();
	sh("rm $(dirname %s)/filler2", path);
	for (int door = 0; door < ALL_DOORS; door++) {
		CHECK_EQ(wr(door, 512 + door * 16, 0x66), BLOCK);
		expect_block(512 + door * 16, 0x66);
	}
	expect_before();
	vm_free(&vm);
	/* Full again, for others. */
	sh("cd $(dirname %s) && ! dd if=/dev/zero of=filler3 bs=4k 2>/dev/null",
	   path);
}

/* A pool of 2 MiB, which is given 2 more. */
static void no_space_thin(void)
{
	const char *loop = need_env("HCALL_LOOP");
	const char *meta = need_env("HCALL_LOOP4K");

	sh("modprobe dm-thin-pool");
	for (int direct = 0; direct < 2; direct++) {
		sh("dd if=/dev/zero of=%s bs=4k count=1 conv=fsync 2>/dev/null",
		   meta);
		sh("echo '0 4096 thin-pool %s %s 128 0 1 error_if_no_space' | "
		   "dmsetup create --noudevsync hcall-pool && "
		   "dmsetup message hcall-pool 0 'create_thin 0' && "
		   "dmsetup mknodes hcall-pool && "
		   "echo '0 8192 thin /dev/mapper/hcall-pool 0' | "
		   "dmsetup create --noudevsync hcall-fault && "
		   "dmsetup mknodes hcall-fault",
		   meta, loop);
		setup(DEVICE, direct);
		write_before();
		/* All others of its 32 blocks; the doors have taken two. */
		for (uint64_t i = 2; i < 32; i++)
			CHECK_EQ(wr(DOOR_REGISTER, i * 128, 0x22), BLOCK);
		CHECK_EQ(flush(DOOR_REGISTER), 0);
		for (int door = 0; door < ALL_DOORS; door++) {
			uint64_t sector = 4096 + door * 128;

			if (direct) {
				CHECK_EQ(wr(door, sector, 0xff),
					 as_told(door, -HCALL_ENOSPC));
			} else {
				/* Of a device's pages Linux only keeps that they failed. */
				CHECK_EQ(wr(door, sector, 0xff), BLOCK);
				CHECK_EQ(flush(door), -HCALL_EIO);
			}
		}
		expect_before();
		sh("echo '0 8192 thin-pool %s %s 128 0 1 error_if_no_space' | "
		   "dmsetup load hcall-pool && "
		   "dmsetup suspend --noudevsync --nolockfs hcall-pool && "
		   "dmsetup resume --noudevsync hcall-pool",
		   meta, loop);
		expect_service(DEVICE, 6144);
		expect_before();
		vm_free(&vm);
		device_free();
		sh("dmsetup remove --noudevsync --retry hcall-pool");
	}
}

/* ---- Limits of the launcher -------------------------------------------------------------- */

/* Return: what it was. */
static rlim_t set_limit(int resource, rlim_t now)
{
	struct rlimit limit;
	rlim_t was;

	NEED(!getrlimit(resource, &limit));
	was = limit.rlim_cur;
	limit.rlim_cur = now;
	NEED(!setrlimit(resource, &limit));
	return was;
}

/* Nobody here has a handler for SIGXFSZ, which would be the end. */
static void file_size(void)
{
	const char *path = ext4_file("size", 4 << 20);

	for (int direct = 0; direct < 2; direct++) {
		setup(path, direct);
		write_before();
		set_limit(RLIMIT_FSIZE, 512 << 10);
		for (int door = 0; door < ALL_DOORS; door++) {
			CHECK_EQ(wr(door, 1024, 0xff),
				 as_told(door, -HCALL_ENOSPC));
			CHECK_EQ(wr(door, 1024 - BLOCK / 2, 0xff),
				 direct && door == DOOR_QUEUE
					 ? -HCALL_EIO
					 : as_told(door, -HCALL_ENOSPC));
			CHECK_EQ(wr(door, 1024 - BLOCK, 0x77), BLOCK);
			if (door != DOOR_QUEUE)
				CHECK_EQ(zeroes(door, 1024), -HCALL_ENOSPC);
			expect_block(1024, 0);
		}
		set_limit(RLIMIT_FSIZE, RLIM_INFINITY);
		expect_before();
		expect_block(1024 - BLOCK, 0x77);
		expect_service(path, 4096);
		vm_free(&vm);
		unlink(path);
		path = ext4_file("size", 4 << 20);
	}
	unlink(path);
}

/* No worker can be made: what has to have one says so; one is enough for all. */
static void no_threads(void)
{
	const char *path = ext4_file("threads", 4 << 20);
	struct hcall_op *op;
	rlim_t was;

	vm_new(&vm);
	vm_bind(&vm);
	CHECK_EQ(vm_disk(&vm, "disk", path, KVM_HCALL_ADD_DIRECT), 0);
	/* KVM makes a thread of its own for a VM's first run. */
	CHECK(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0) > 0);
	/* For root there is no limit. */
	NEED(!setresuid(65534, 65534, 0));
	was = set_limit(RLIMIT_NPROC, 0);
	op = at(&vm, OPS);
	memset(op, 0, sizeof(*op));
	op->number = HCALL_BLOCK_FLUSH;
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(call(&vm, HCALL_SYS_BATCH, OPS, 1, HCALL_BATCH_ASYNC,
			      DOOR_CHANNEL),
			 -HCALL_ENOMEM);
		CHECK_EQ(op->flags, 0);
		device_start(BLK, BIT(VIRTIO_BLK_F_FLUSH));
		disk = queue_new(BLK, 0);
		CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, BLK, RUNNING, 0, 0),
			 -HCALL_ENOMEM);
		CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, BLK,
			      HCALL_VIRTIO_STATUS_GET, 0, 0),
			 SET_UP);
	}
	CHECK_EQ(wr(DOOR_REGISTER, 0, 0x11), BLOCK);
	CHECK_EQ(wr(DOOR_BATCH, 16, 0x22), BLOCK);
	set_limit(RLIMIT_NPROC, was);
	device_go(BLK);
	set_limit(RLIMIT_NPROC, 0);
	expect_block(0, 0x11);
	expect_block(16, 0x22);
	for (uint32_t i = 0; i < QUEUED; i++)
		request(HCALL_BLOCK_READ, i, 16);
	CHECK_EQ(kick(&disk), 0);
	CHECK(answered(&disk, QUEUED, 10000));
	for (uint32_t i = 0; i < QUEUED; i++) {
		CHECK_EQ(request_result(HCALL_BLOCK_READ, i), BLOCK);
		CHECK(all_are(at(&vm, DATA + i * BYTES), 0x22, BYTES));
	}
	set_limit(RLIMIT_NPROC, was);
	NEED(!setresuid(0, 0, 0));
	expect_service(path, 4096);
	vm_free(&vm);
	unlink(path);
}

/* ---- Memslots ---------------------------------------------------------------------------- */

#define ELSEWHERE (RAM2 + 0x200000u)
#define COUNTS	  (RAM + 0x7000u)

struct counts {
	volatile uint64_t ends, ok, fault, other;
};

static GUEST void count(struct counts *n, int64_t ret, int64_t ok)
{
	if (ret == ok)
		n->ok++;
	else if (ret == -HCALL_EFAULT)
		n->fault++;
	else
		n->other++;
}

/* Calls on memory that comes, goes and is elsewhere, all the time. */
static GUEST int64_t call_there(uint64_t gpa)
{
	struct counts *n = (void *)gpa;

	while (!n->ends) {
		for (uint64_t to = RAM2; to <= ELSEWHERE;
		     to += ELSEWHERE - RAM2) {
			count(n, guest_call(HCALL_BLOCK_READ, 0, 0, to, 8), 8);
			count(n, guest_call(HCALL_BLOCK_WRITE, 0, 2048, to, 8),
			      8);
			count(n,
			      guest_call(HCALL_SYS_RANDOM, to + 4096, 64, 0, 0),
			      64);
		}
	}
	return 0;
}

/* Its result, on vCPU 1; vCPU 0's way by other doors is through the program's memory. */
static int64_t read_to(int door, uint64_t gpa)
{
	if (door != DOOR_QUEUE) {
		begin(door, false, HCALL_BLOCK_READ, 0, gpa);
		return end(door, HCALL_BLOCK_READ);
	}
	request_at(HCALL_BLOCK_READ, 1, 0, gpa);
	if (!kick(&disk)) {
		for (int i = 0; i < 10000; i++) {
			if (answered(&disk, 1, 1))
				return request_result(HCALL_BLOCK_READ, 1);
			if (call(&vm, HCALL_VIRTIO_STATUS, BLK,
				 HCALL_VIRTIO_STATUS_GET, 0, 0) &
			    NEEDS_RESET)
				break;
		}
	}
	/* For a driver it is a lie. */
	disk_start();
	return -HCALL_EFAULT;
}

static void memslot_moves(void)
{
	const char *path = make_disk("slots", 2 << 20);
	long ok = 0, fault = 0;
	struct counts *n;

	for (int direct = 0; direct < 2; direct++) {
		if (direct) {
			unlink(path);
			path = ext4_file("slots", 2 << 20);
		}
		setup(path, direct);
		n = at(&vm, COUNTS);
		*n = (struct counts){};
		vm_guest(&vm);
		guest_start(&vm.vcpu[2], call_there, COUNTS, false);
		for (int i = 0; i < 60 || !n->ok || !n->fault; i++) {
			int64_t ret;

			NEED(i < 10000);
			switch (i % 3) {
			case 0:
				vm_slot(&vm, 2, ELSEWHERE, vm.ram2, RAM2_BYTES,
					0);
				break;
			case 1:
				vm_slot(&vm, 2, ELSEWHERE, NULL, 0, 0);
				break;
			case 2:
				vm_slot(&vm, 2, RAM2, vm.ram2, RAM2_BYTES, 0);
				break;
			}
			for (int door = 0; door < ALL_DOORS; door++) {
				ret = read_to(door, i % 3 ? RAM2 : ELSEWHERE);
				CHECK_EQ(ret,
					 i % 3 == 1 ? -HCALL_EFAULT : BLOCK);
				ret = read_to(door, i % 3 ? ELSEWHERE : RAM2);
				CHECK_EQ(ret, -HCALL_EFAULT);
			}
		}
		n->ends = 1;
		CHECK_EQ(call_wait(&vm.vcpu[2]), 0);
		CHECK_EQ(n->other, 0);
		ok += n->ok;
		fault += n->fault;
		vm_free(&vm);
	}
	printf("# %ld calls found the memory, %ld did not\n", ok, fault);
	unlink(path);
}

/* ---- Eventfds --------------------------------------------------------------------------- */

#define CHANNEL 700u

static uint64_t drained(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int eventfd_new(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	NEED(fd >= 0);
	return fd;
}

static void fire(void)
{
	CHECK_EQ(host_raise(&vm, CHANNEL), 0);
	CHECK(channel_take(&vm, CHANNEL));
}

/* A route is to the eventfd itself, not to whatever has its number now. */
static void eventfd_reused(void)
{
	int fd = eventfd_new(), first = dup(fd), second, p[2];

	vm_new(&vm);
	vm_bind(&vm);
	NEED(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0) > 0);
	NEED(!pipe2(p, O_NONBLOCK | O_CLOEXEC));
	CHECK_EQ(host_route(&vm, CHANNEL, KVM_HCALL_VCPU_ANY, fd), 0);
	second = eventfd_new();
	for (int i = 0; i < 2; i++) {
		/* Another eventfd; the end of a pipe. */
		NEED(dup2(i ? p[1] : second, fd) == fd);
		fire();
		CHECK_EQ(drained(first), 1);
		CHECK_EQ(drained(second), 0);
		CHECK_EQ(drained(p[0]), 0);
	}
	/* By that number there is no eventfd now; the route stays. */
	CHECK_EQ(host_route(&vm, CHANNEL, KVM_HCALL_VCPU_ANY, fd), -EINVAL);
	fire();
	CHECK_EQ(drained(first), 1);
	NEED(dup2(second, fd) == fd);
	CHECK_EQ(host_route(&vm, CHANNEL, KVM_HCALL_VCPU_ANY, fd), 0);
	fire();
	CHECK_EQ(drained(first), 0);
	CHECK_EQ(drained(second), 1);
	/* None is left here, but the module's; and then none at all. */
	close(first);
	close(second);
	close(fd);
	fire();
	CHECK_EQ(host_route(&vm, CHANNEL, KVM_HCALL_VCPU_ANY, -1), 0);
	fire();
	close(p[0]);
	close(p[1]);
	vm_free(&vm);
}

static atomic_bool racing;

/* An irqfd, and a route to its eventfd, which goes first or last. */
static void *eventfds_come_and_go(void *unused)
{
	(void)unused;
	for (int i = 0; racing; i++) {
		int fd = eventfd_new();
		struct kvm_irqfd irqfd = { .fd = fd, .gsi = 24 };

		NEED(!ioctl(vm.fd, KVM_IRQFD, &irqfd));
		NEED(!host_route(&vm, CHANNEL, KVM_HCALL_VCPU_ANY, fd));
		if (i % 3 == 0) {
			irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
			NEED(!ioctl(vm.fd, KVM_IRQFD, &irqfd));
		}
		close(fd);
		if (i % 3 == 1)
			NEED(!host_route(&vm, CHANNEL, KVM_HCALL_VCPU_ANY, -1));
	}
	return NULL;
}

static void eventfd_race(void)
{
	pthread_t thread;
	int fd;

	vm_new(&vm);
	vm_bind(&vm);
	NEED(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0) > 0);
	racing = true;
	host_msi(&vm, 1, 0x50);
	NEED(!pthread_create(&thread, NULL, eventfds_come_and_go, NULL));
	for (int i = 0; i < 1000; i++)
		fire();
	racing = false;
	NEED(!pthread_join(thread, NULL));
	fd = eventfd_new();
	CHECK_EQ(host_route(&vm, CHANNEL, KVM_HCALL_VCPU_ANY, fd), 0);
	fire();
	CHECK_EQ(drained(fd), 1);
	close(fd);
	vm_free(&vm);
}

/* ---- Net by virtqueues -------------------------------------------------------------------- */

/* The tap is deleted below a driver that waits for frames, and sends. */
static void tap_deleted(void)
{
	struct vring_desc frame = { .addr = DATA, .len = 12 + 60 };
	struct vring_desc room = { .addr = DATA + BYTES,
				   .len = BYTES,
				   .flags = VRING_DESC_F_WRITE };
	struct kvm_hcall_add add = { .class_id = HCALL_CLASS_NET,
				     .name = "net",
				     .fd_in = -1,
				     .mtu = 1500,
				     .mac = { 2, 0, 0, 0, 0, 1 } };
	struct queue rx, tx;

	sh("modprobe tun");
	NEED(!unshare(CLONE_NEWNET));
	/* Nobody speaks unasked. */
	sh("sysctl -q net.ipv6.conf.default.disable_ipv6=1");
	for (int round = 0; round < 4; round++) {
		struct ifreq ifr = { .ifr_name = "tap0",
				     .ifr_flags = IFF_TAP | IFF_NO_PI };
		int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
		bool deleted = false;

		NEED(fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr));
		sh("ip link set tap0 up");
		vm_new(&vm);
		vm_bind(&vm);
		add.fd = fd;
		CHECK_EQ(vm_add_device(&vm, &add), 0);
		device_start(NET, 0);
		rx = queue_new(NET, 0);
		tx = queue_new(NET, 1);
		device_go(NET);
		publish(&rx, 0, &room, 1);
		CHECK_EQ(kick(&rx), 0);
		memset(at(&vm, DATA), 0, 12);
		memset(at(&vm, DATA + 12), 0xff, 60);
		for (int i = 0; i < 100; i++) {
			if (i == 10) {
				sh("ip link del tap0");
				deleted = true;
			}
			publish(&tx, 0, &frame, 1);
			CHECK_EQ(kick(&tx), 0);
			/* virtio-net has no status: what was not sent is used, too. */
			CHECK(answered(&tx, 1, 10000));
		}
		CHECK(deleted);
		CHECK(!answers(&rx));
		CHECK_EQ(call(&vm, HCALL_NET_SEND, 0, DATA + 12, 60, 0),
			 -HCALL_EIO);
		CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, INFO, 8, 0, 0), 8);
		close(fd);
		if (round % 2)
			vm_remove(&vm, HCALL_CLASS_NET, 0);
		vm_free(&vm);
	}
}

/* ---- Input by virtqueues ------------------------------------------------------------------ */

static int keyboard_new(int *evdev)
{
	struct uinput_setup setup = { .id = { .bustype = BUS_USB },
				      .name = "hcall faults" };
	char name[32], path[300];
	struct dirent *entry;
	DIR *dir;
	int fd;

	sh("modprobe -a uinput evdev");
	fd = open("/dev/uinput", O_RDWR);
	NEED(fd >= 0);
	NEED(!ioctl(fd, UI_SET_EVBIT, EV_KEY));
	NEED(!ioctl(fd, UI_SET_KEYBIT, KEY_A));
	NEED(!ioctl(fd, UI_SET_EVBIT, EV_LED));
	NEED(!ioctl(fd, UI_SET_LEDBIT, LED_CAPSL));
	NEED(!ioctl(fd, UI_DEV_SETUP, &setup) && !ioctl(fd, UI_DEV_CREATE));
	NEED(ioctl(fd, UI_GET_SYSNAME(sizeof(name)), name) >= 0);
	snprintf(path, sizeof(path), "/sys/devices/virtual/input/%s", name);
	dir = opendir(path);
	NEED(dir);
	*evdev = -1;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "event", 5))
			continue;
		snprintf(path, sizeof(path), "/dev/input/%s", entry->d_name);
		*evdev = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	NEED(*evdev >= 0);
	closedir(dir);
	return fd;
}

static void type(int uinput, uint16_t kind, uint16_t code, int value)
{
	struct input_event event = { .type = kind,
				     .code = code,
				     .value = value };

	NEED(write(uinput, &event, sizeof(event)) == sizeof(event));
}

/* The keyboard is unplugged below a driver that waits for keys, and sets lights. */
static void unplugged(void)
{
	struct vring_desc room = { .addr = DATA,
				   .len = 8,
				   .flags = VRING_DESC_F_WRITE };
	struct vring_desc light = { .addr = DATA + BYTES, .len = 8 };
	struct hcall_input_event caps = { EV_LED, LED_CAPSL, 1 };
	struct kvm_hcall_input about = { .name = "keyboard" };
	struct queue events, lights;
	int evdev, uinput;

	about.codes[EV_KEY][KEY_A / 8] = 1 << KEY_A % 8;
	about.codes[EV_LED][0] = 1 << LED_CAPSL;
	for (int round = 0; round < 4; round++) {
		void *buffer = mmap(NULL, KVM_HCALL_BUFFER_BYTES,
				    PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct kvm_hcall_add add = { .class_id = HCALL_CLASS_INPUT,
					     .name = "keyboard",
					     .input = (uintptr_t)&about,
					     .buffer = (uintptr_t)buffer };

		NEED(buffer != MAP_FAILED);
		uinput = keyboard_new(&evdev);
		add.fd = add.fd_in = evdev;
		vm_new(&vm);
		vm_bind(&vm);
		CHECK_EQ(vm_add_device(&vm, &add), 0);
		close(evdev);
		device_start(INPUT, 0);
		events = queue_new(INPUT, 0);
		lights = queue_new(INPUT, 1);
		device_go(INPUT);
		for (int i = 0; i < 4; i++)
			publish(&events, i, &room, 1);
		CHECK_EQ(kick(&events), 0);
		type(uinput, EV_KEY, KEY_A, 1);
		type(uinput, EV_SYN, SYN_REPORT, 0);
		CHECK(answered(&events, 2, 10000));
		memcpy(at(&vm, DATA + BYTES), &caps, sizeof(caps));
		publish(&lights, 0, &light, 1);
		CHECK_EQ(kick(&lights), 0);
		CHECK(answered(&lights, 1, 10000));
		if (round % 2)
			close(uinput);
		else
			NEED(!ioctl(uinput, UI_DEV_DESTROY));
		/* Its keys are let go by the host before it goes, or they are not. */
		usleep(50000);
		CHECK(answers(&events) <= 2);
		for (int i = 0; i < 10; i++) {
			publish(&lights, 0, &light, 1);
			CHECK_EQ(kick(&lights), 0);
			/* There is no status: used, too. */
			CHECK(answered(&lights, 1, 10000));
		}
		CHECK_EQ(call(&vm, HCALL_INPUT_READ, 0, DATA, 1, HCALL_NOWAIT),
			 -HCALL_EIO);
		CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, INPUT, 0, 0, 0), 0);
		if (round > 1)
			vm_remove(&vm, HCALL_CLASS_INPUT, 0);
		vm_free(&vm);
		if (!(round % 2))
			close(uinput);
		munmap(buffer, KVM_HCALL_BUFFER_BYTES);
	}
}

/* ---- Death ------------------------------------------------------------------------------- */

/* Of the last process that has one. */
static bool module_idle(void)
{
	char text[16] = "";
	int fd = open("/sys/module/kvm_hcall/refcnt", O_RDONLY);

	NEED(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return !atoi(text);
}

static bool dies_within(pid_t pid, int ms)
{
	int status = 0;

	for (int i = 0; i < ms && !status; i++) {
		NEED(waitpid(pid, &status, WNOHANG) >= 0);
		usleep(1000);
	}
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* A launcher, with something on its way by each door, is killed on a frozen disk. */
static void killed_frozen(void)
{
	const char *path = ext4_file("killed", 4 << 20);
	pid_t pid;

	for (int round = 0; round < 2 * ALL_DOORS; round++) {
		int door = round % ALL_DOORS;
		int told[2];
		char byte;

		NEED(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, told));
		pid = fork();
		NEED(pid >= 0);
		if (!pid) {
			if (setjmp(test_failed))
				_exit(1);
			setup(path, round / ALL_DOORS);
			NEED(write(told[0], "", 1) == 1);
			NEED(read(told[0], &byte, 1) == 1);
			begin(door, round / ALL_DOORS, HCALL_BLOCK_WRITE, 1024,
			      SLOW);
			for (;;)
				pause();
		}
		NEED(read(told[1], &byte, 1) == 1);
		freeze(true);
		NEED(write(told[1], "", 1) == 1);
		usleep(100000);
		kill(pid, SIGKILL);
		usleep(100000);
		freeze(false);
		CHECK(dies_within(pid, 10000));
		close(told[0]);
		close(told[1]);
	}
	for (int i = 0; i < 1000 && !module_idle(); i++)
		usleep(10000);
	CHECK(module_idle());
	setup(path, false);
	expect_service(path, 2048);
	vm_free(&vm);
	unlink(path);
}

static const struct test tests[] = {
	{ "doors.dm_error", dm_error },
	{ "doors.dm_drops", dm_drops },
	{ "doors.delay_in_flight", delay_in_flight },
	{ "doors.delay_taken_away", delay_taken_away },
	{ "doors.dm_suspended", dm_suspended },
	{ "doors.frozen", frozen },
	{ "doors.no_space_ext4", no_space_ext4 },
	{ "doors.no_space_tmpfs", no_space_tmpfs },
	{ "doors.no_space_thin", no_space_thin },
	{ "doors.file_size", file_size },
	{ "doors.no_threads", no_threads },
	{ "doors.memslot_moves", memslot_moves },
	{ "doors.eventfd_reused", eventfd_reused },
	{ "doors.eventfd_race", eventfd_race },
	{ "doors.tap_deleted", tap_deleted },
	{ "doors.unplugged", unplugged },
	{ "doors.killed_frozen", killed_frozen },
};

KTAP_MAIN(tests)
