// SPDX-License-Identifier: GPL-2.0
/*
 * The grammar: programs that mostly say what the ABI allows, and here and there, in
 * any place, what it does not.  See guest.h.
 */
#define _GNU_SOURCE
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* ---- What calls there are --------------------------------------------------------- */

enum arg {
	NONE,
	UNIT, /* of the call's class */
	DEV, /* of class virtio */
	GPA,
	BYTES, /* up to the cap */
	SECTOR,
	COUNT, /* up to the cap */
	FLAG, /* 0 or 1 */
	BYTE,
	CLASS,
	INDEX,
	TIMER,
	DEADLINE,
	PERIOD,
	CLOCK,
	CHANNEL,
	OWN_CHANNEL,
	VCPU,
	VECTOR,
	SELECT,
	NET_FEATURES,
	FEATURES,
	STATUS,
	QUEUE,
	OFFSET,
	REASON,
	PAGE,
};

#define CALL(nr) #nr, HCALL_##nr

const struct call calls[] = {
	{ CALL(SYS_PROBE), 2, 0, 0, { CLASS } },
	{ CALL(SYS_DEVICE), 4, 3, 160, { INDEX, GPA, BYTES } },
	{ CALL(SYS_BATCH), 160, 2, HCALL_BATCH_MAX_OPS, {} },
	{ CALL(SYS_EXIT), 1, 0, 0, { REASON, BYTE } },
	{ CALL(SYS_RANDOM), 8, 2, 4096, { GPA, BYTES } },
	{ CALL(CONSOLE_WRITE), 10, 3, 65536, { UNIT, GPA, BYTES, FLAG } },
	{ CALL(CONSOLE_READ), 10, 3, 65536, { UNIT, GPA, BYTES, FLAG } },
	{ CALL(CONSOLE_PUTC), 4, 0, 0, { UNIT, BYTE, FLAG } },
	{ CALL(CONSOLE_GETC), 4, 0, 0, { UNIT, FLAG } },
	{ CALL(CONSOLE_SIZE), 2, 0, 0, { UNIT } },
	{ CALL(BLOCK_READ), 16, 4, 2048, { UNIT, SECTOR, GPA, COUNT } },
	{ CALL(BLOCK_WRITE), 16, 4, 2048, { UNIT, SECTOR, GPA, COUNT } },
	{ CALL(BLOCK_FLUSH), 3, 0, 0, { UNIT } },
	{ CALL(BLOCK_DISCARD), 3, 3, 0x200000, { UNIT, SECTOR, COUNT } },
	{ CALL(BLOCK_WRITE_ZEROES),
	  3,
	  3,
	  0x200000,
	  { UNIT, SECTOR, COUNT, FLAG } },
	{ CALL(TIMER_NOW), 3, 0, 0, { CLOCK } },
	{ CALL(TIMER_ARM), 8, 0, 0, { TIMER, DEADLINE, PERIOD, CLOCK } },
	{ CALL(TIMER_CANCEL), 4, 0, 0, { TIMER } },
	{ CALL(TIMER_EXPIRED), 4, 0, 0, { TIMER } },
	{ CALL(INPUT_READ), 10, 3, 64, { UNIT, GPA, COUNT, FLAG } },
	{ CALL(INPUT_WRITE), 8, 3, 64, { UNIT, GPA, COUNT } },
	{ CALL(INPUT_CONFIG), 8, 0, 160, { UNIT, SELECT, GPA, BYTES } },
	{ CALL(NET_SEND), 10, 0, 65562, { UNIT, GPA, BYTES, FLAG } },
	{ CALL(NET_RECV), 10, 3, 65562, { UNIT, GPA, BYTES, FLAG } },
	{ CALL(NET_SENDV), 8, 3, 256, {} },
	{ CALL(NET_RECVV), 8, 3, 256, {} },
	{ CALL(NET_FEATURES), 2, 0, 0, { UNIT, NET_FEATURES } },
	{ CALL(NET_LINK), 2, 0, 0, { UNIT } },
	{ CALL(EVENT_PAGE), 4, 0, 0, { PAGE } },
	{ CALL(EVENT_NEXT), 8, 0, 0, {} },
	{ CALL(EVENT_WAIT), 2, 0, 0, { DEADLINE, FLAG } },
	{ CALL(EVENT_MASK), 6, 0, 0, { CHANNEL, FLAG } },
	{ CALL(EVENT_ROUTE), 4, 0, 0, { CHANNEL, VCPU, VECTOR, FLAG } },
	{ CALL(EVENT_RAISE), 8, 0, 0, { OWN_CHANNEL } },
	{ CALL(VIRTIO_DEVICE), 3, 3, 100, { DEV, GPA, BYTES } },
	{ CALL(VIRTIO_STATUS), 3, 0, 0, { DEV, STATUS } },
	{ CALL(VIRTIO_FEATURES), 2, 0, 0, { DEV, FEATURES } },
	{ CALL(VIRTIO_QUEUE), 2, 0, 48, { DEV, QUEUE, GPA, BYTES } },
	{ CALL(VIRTIO_KICK), 40, 0, 0, { DEV, QUEUE, FLAG } },
	{ CALL(VIRTIO_CONFIG_READ), 5, 0, 32, { DEV, OFFSET, GPA, BYTES } },
	{ CALL(VIRTIO_CONFIG_WRITE), 5, 0, 2, { DEV, OFFSET, GPA, BYTES } },
};

const unsigned int calls_nr = sizeof(calls) / sizeof(calls[0]);

unsigned int call_find(uint64_t nr)
{
	unsigned int i;

	for (i = 0; i < calls_nr && calls[i].nr != nr; i++)
		;
	return i;
}

uint32_t device_class(enum device device)
{
	return device < DISKS	   ? HCALL_CLASS_BLOCK
	       : device == CONSOLE ? HCALL_CLASS_CONSOLE
	       : device == INPUT   ? HCALL_CLASS_INPUT
				   : HCALL_CLASS_NET;
}

uint32_t device_unit(enum device device)
{
	return device < DISKS ? device : device == NET_TAP;
}

/* ---- Making -------------------------------------------------------------------- */

struct maker {
	struct program *program;
	uint64_t state;
	uint64_t now_ns;
	uint32_t who; /* whose turn it is */
	uint32_t depth; /* of batches in batches */
};

static uint64_t any(struct maker *m)
{
	return rnd(&m->state);
}

static uint64_t below(struct maker *m, uint64_t n)
{
	return any(m) % n;
}

/* One time of so many. */
static bool rarely(struct maker *m, uint32_t times)
{
	return !below(m, times);
}

static void *grow(void *p, uint32_t *room, uint32_t wanted, size_t each)
{
	if (wanted <= *room)
		return p;
	*room = wanted * 2;
	p = realloc(p, *room * each);
	NEED(p);
	return p;
}

static void add_step(struct maker *m, uint32_t kind, uint32_t who, uint64_t nr,
		     uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct program *p = m->program;

	p->steps =
		grow(p->steps, &p->steps_room, p->count + 1, sizeof(*p->steps));
	p->steps[p->count++] = (struct step){ kind, who, nr, { a, b, c, d } };
}

static void call_step(struct maker *m, uint64_t nr, uint64_t a, uint64_t b,
		      uint64_t c, uint64_t d)
{
	add_step(m, STEP_CALL, m->who, nr, a, b, c, d);
}

/* Where the guest may write: not in what the fuzzer itself lives of. */
static uint64_t allowed(uint64_t gpa)
{
	return gpa >= LOW && gpa < STREAMS + STREAMS_BYTES ? gpa + FAR : gpa;
}

static void store(struct maker *m, uint32_t who, uint64_t gpa, const void *data,
		  uint32_t bytes)
{
	struct program *p = m->program;
	/* The interpreter sees the first GiB only. */
	if (!bytes || gpa >= 1 << 30)
		return;
	/* Where there is no RAM each byte is an exit to the host. */
	if (bytes > 64 && (gpa < RAM || gpa + bytes > HOLE))
		bytes = 64;
	p->data = grow(p->data, &p->data_room, p->data_bytes + bytes, 1);
	memcpy(p->data + p->data_bytes, data, bytes);
	add_step(m, STEP_STORE, who, bytes, gpa, p->data_bytes, 0, 0);
	p->data_bytes += (bytes + 7) & ~7u;
}

/* Any number, but such as have edges near. */
static uint64_t number_any(struct maker *m)
{
	uint64_t bit = 1ull << below(m, 64);

	switch (below(m, 8)) {
	case 0:
		return below(m, 3);
	case 1:
		return -below(m, 3);
	case 2:
		return bit;
	case 3:
		return bit - 1;
	case 4:
		return bit + 1;
	case 5:
		return -bit;
	case 6:
		return below(m, 70000);
	default:
		return any(m);
	}
}

static uint64_t gpa_edge(struct maker *m)
{
	static const uint64_t edges[] = {
		ZERO,
		ZERO + ZERO_BYTES,
		RAM,
		RAM2, /* between slots */
		HOLE,
		ROM,
		ROM + ROM_BYTES,
		TILES,
		TILES + TILES_NR * 4096,
		UNDER_4G,
		OVER_4G, /* between slots, too */
		OVER_4G + OVER_4G_BYTES,
		FAR,
		FAR + FAR_BYTES,
		0xfee00000, /* the local APIC's page is a slot of KVM's */
		0xfec00000,
		0xfffbd000, /* KVM's own slots, of vm_new() */
		0xfffbc000,
		1ull << 31,
		1ull << 52,
		1ull << 63,
		-4096ull,
		0, /* and 2^64 */
	};
	uint64_t edge = edges[below(m, sizeof(edges) / sizeof(edges[0]))];

	switch (below(m, 4)) {
	case 0:
		return edge - below(m, 16);
	case 1:
		return edge - below(m, 70000);
	case 2:
		return edge + below(m, 70000);
	default:
		return edge - 512 * below(m, 16);
	}
}

static uint64_t gpa_any(struct maker *m)
{
	uint64_t gpa, r = any(m);

	switch (r % 32) {
	case 0:
	case 1:
		gpa = gpa_edge(m);
		break;
	case 2:
		gpa = number_any(m);
		break;
	case 3:
		gpa = ROM + (r >> 32) % ROM_BYTES;
		break;
	case 4:
	case 5:
		gpa = TILES + (r >> 32) % (TILES_NR * 4096);
		break;
	case 6:
		gpa = RAM + 0x1000 + (r >> 32) % 0xff000; /* structures */
		break;
	case 7:
		gpa = RAM2 - (r >> 32) % 5000;
		break;
	default:
		gpa = DATA + (r >> 32) % (RAM2 + RAM2_BYTES / 2 - DATA);
		break;
	}
	if (r >> 20 & 1)
		gpa &= ~511ull;
	else if (r >> 21 & 1)
		gpa &= ~4095ull;
	return allowed(gpa);
}

/* Where so many bytes are not all in one memslot. */
static uint64_t gpa_over_end(struct maker *m, uint32_t bytes)
{
	static const uint64_t ends[] = { HOLE,
					 RAM2,
					 ROM,
					 ROM + ROM_BYTES,
					 TILES + 4096,
					 TILES + 8 * 4096,
					 TILES + TILES_NR * 4096,
					 ZERO + ZERO_BYTES,
					 OVER_4G,
					 OVER_4G + OVER_4G_BYTES,
					 FAR + FAR_BYTES };

	return ends[below(m, sizeof(ends) / sizeof(ends[0]))] -
	       below(m, bytes + 16);
}

/* Room for a structure, mostly where others are, too. */
static uint64_t gpa_place(struct maker *m, uint64_t area, uint32_t room,
			  uint32_t places, uint32_t bytes)
{
	uint64_t gpa = area + below(m, places) * room;

	if (rarely(m, 16))
		gpa = gpa_any(m) & ~7ull;
	else if (rarely(m, 12))
		gpa = gpa_over_end(m, bytes) & ~7ull;
	return rarely(m, 64) ? gpa + below(m, 16) : gpa;
}

static uint64_t length_any(struct maker *m, uint64_t cap)
{
	switch (below(m, 24)) {
	case 0:
		return below(m, 2);
	case 1:
		return cap;
	case 2:
		return cap + below(m, 3) - 1;
	case 3:
		return number_any(m);
	case 4:
		return below(m, cap + 1);
	default:
		return 1 + below(m, cap < 128 ? cap : cap / 16);
	}
}

static const uint8_t class_devices[8][2] = {
	[HCALL_CLASS_CONSOLE] = { CONSOLE, 1 },
	[HCALL_CLASS_BLOCK] = { DISK, DISKS },
	[HCALL_CLASS_INPUT] = { INPUT, 1 },
	[HCALL_CLASS_NET] = { NET, 2 },
};

static uint64_t unit_any(struct maker *m, uint32_t class_id)
{
	uint32_t n = class_devices[class_id & 7][1];

	if (rarely(m, 48))
		return number_any(m);
	/* The first one is the one that works, and is fast. */
	if (class_id == HCALL_CLASS_BLOCK && !rarely(m, 4))
		n = 1;
	return n ? below(m, n) : 0;
}

static uint64_t dev_any(struct maker *m)
{
	static const uint8_t devices[] = { DISK,  DISK, DISK_DIRECT, CONSOLE,
					   INPUT, NET,	NET_TAP,     NET_TAP };
	uint32_t device;

	if (rarely(m, 48))
		return number_any(m);
	if (rarely(m, 8))
		return HCALL_VIRTIO_RNG;
	device = rarely(m, 16) ? below(m, DEVICES) : devices[below(m, 8)];
	return HCALL_VIRTIO_DEV(device_class(device), device_unit(device));
}

/* As many queues as it has, about. */
static uint32_t dev_queues(uint64_t dev)
{
	if (dev == HCALL_VIRTIO_RNG)
		return 1;
	if (dev == HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 1))
		return 2 * PAIRS + 1;
	return dev >> 8 == HCALL_CLASS_NET ? 3 : 2;
}

static uint64_t queue_area(uint64_t dev, uint32_t i)
{
	static const uint8_t first[8][2] = {
		[HCALL_CLASS_SYS] = { 0 },	[HCALL_CLASS_CONSOLE] = { 1 },
		[HCALL_CLASS_BLOCK] = { 3, 5 }, [HCALL_CLASS_INPUT] = { 7 },
		[HCALL_CLASS_NET] = { 9, 12 },
	};

	return QUEUE_AREA(first[dev >> 8 & 7][dev & 1] + i);
}

#define RUNNING                                                 \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define SET_UP (RUNNING & ~VIRTIO_CONFIG_S_DRIVER_OK)
#define BIT(n) (1ull << (n))

static uint64_t features_any(struct maker *m, uint64_t dev)
{
	uint64_t bits = BIT(VIRTIO_F_VERSION_1), r = any(m);

	bits |= r & (BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		     BIT(VIRTIO_RING_F_EVENT_IDX));
	if (dev >> 8 == HCALL_CLASS_NET)
		bits |= r &
			(BIT(VIRTIO_NET_F_MRG_RXBUF) |
			 BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_STATUS));
	if (dev >> 8 == HCALL_CLASS_BLOCK)
		bits |= r &
			(BIT(VIRTIO_BLK_F_FLUSH) |
			 BIT(VIRTIO_BLK_F_CONFIG_WCE) |
			 BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_MQ));
	if (dev == HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 1) && r >> 60 & 3) {
		bits |= BIT(VIRTIO_NET_F_CTRL_VQ);
		bits |= r & (BIT(VIRTIO_NET_F_MQ) |
			     BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	}
	if (rarely(m, 24))
		bits ^= BIT(below(m, 64));
	return bits;
}

static uint64_t deadline_any(struct maker *m)
{
	switch (below(m, 16)) {
	case 0:
		return number_any(m);
	case 1:
		return m->now_ns - below(m, 1000000000);
	case 2:
		return m->now_ns + below(m, 100000000000);
	default:
		return m->now_ns + below(m, 200000000);
	}
}

static uint64_t arg_any(struct maker *m, const struct call *call, int i)
{
	static const uint32_t selects[] = {
		HCALL_INPUT_NAME,	HCALL_INPUT_SERIAL, HCALL_INPUT_IDS,
		HCALL_INPUT_PROPERTIES, HCALL_INPUT_CODES,  HCALL_INPUT_AXIS
	};
	uint32_t class_id = HCALL_NR_CLASS(call->nr);

	if (rarely(m, 64))
		return number_any(m);
	switch (call->args[i]) {
	case UNIT:
		return unit_any(m, class_id);
	case DEV:
		return dev_any(m);
	case GPA:
		return gpa_any(m);
	case BYTES:
		return length_any(m, call->cap);
	case COUNT:
		if (class_id == HCALL_CLASS_BLOCK && !rarely(m, 8))
			return 1 + below(m, 16);
		return length_any(m, call->cap);
	case SECTOR:
		return rarely(m, 16) ? DISK_SECTORS - below(m, 20)
				     : below(m, READONLY_SECTORS);
	case FLAG:
		/* Mostly NOWAIT: who sleeps makes no calls. */
		return rarely(m, 64) ? below(m, 3) : 1;
	case BYTE:
		return below(m, 260);
	case CLASS:
		return below(m, rarely(m, 4) ? 260 : 9);
	case INDEX:
		return below(m, DEVICES + 2);
	case TIMER:
		return rarely(m, 24) ? 60 + below(m, 10) : below(m, 8);
	case DEADLINE:
		return deadline_any(m);
	case PERIOD:
		return rarely(m, 2) ? 0 : 1000000 + below(m, 20000000);
	case CLOCK:
		return rarely(m, 3) ? below(m, 5) : 0;
	case CHANNEL:
		return below(m, 1030);
	case OWN_CHANNEL:
		return 500 + below(m, 530);
	case VCPU:
		return rarely(m, 2) ? HCALL_VCPU_ANY
				    : below(m, m->program->callers + 2);
	case VECTOR:
		return rarely(m, 2) ? 0 : below(m, 260);
	case SELECT:
		return HCALL_INPUT_SELECT(selects[below(m, 6)], below(m, 70));
	case NET_FEATURES:
		return any(m) & 0x1983;
	case FEATURES:
		return features_any(m, dev_any(m));
	case STATUS:
		return rarely(m, 3) ? below(m, 260) : HCALL_VIRTIO_STATUS_GET;
	case QUEUE:
		return below(m, 10);
	case OFFSET:
		return below(m, rarely(m, 2) ? 3 : 40);
	case REASON:
		return below(m, 4);
	case PAGE:
		return rarely(m, 3)
			       ? HCALL_NO_PAGE
			       : EVENT_PAGES + below(m, 8) * 256 +
					 (rarely(m, 8) ? below(m, 9000) : 0);
	default:
		/* Is ignored. */
		return rarely(m, 8) ? number_any(m) : 0;
	}
}

static const struct call *call_any(struct maker *m)
{
	static uint32_t sum;
	uint32_t at;

	if (!sum) {
		for (unsigned int i = 0; i < calls_nr; i++)
			sum += calls[i].weight;
	}
	at = below(m, sum);
	for (unsigned int i = 0;; i++) {
		if (at < calls[i].weight)
			return &calls[i];
		at -= calls[i].weight;
	}
}

static void frames_make(struct maker *m, uint64_t args[4])
{
	uint64_t count = length_any(m, 256), n = count < 256 ? count : 256;
	uint64_t gpa;
	struct hcall_frame frames[256];

	if (!rarely(m, 4) && n > 8)
		n = count = 1 + below(m, 8);
	gpa = gpa_place(m, FRAMES, 4096, 8, n * sizeof(frames[0]));
	for (uint32_t i = 0; i < n; i++)
		frames[i] = (struct hcall_frame){
			.gpa = gpa_any(m),
			.bytes = rarely(m, 16) ? length_any(m, 65562)
					       : 14 + below(m, 1600),
			.used = any(m),
		};
	store(m, m->who, gpa, frames, n * sizeof(frames[0]));
	args[0] = unit_any(m, HCALL_CLASS_NET);
	args[1] = gpa;
	args[2] = count;
	args[3] = !rarely(m, 24);
}

static uint64_t call_make(struct maker *m, uint64_t args[4]);

static void batch_make(struct maker *m, uint64_t args[4])
{
	uint64_t count = length_any(m, HCALL_BATCH_MAX_OPS), n;
	uint64_t gpa;
	struct hcall_op ops[HCALL_BATCH_MAX_OPS];

	if (!rarely(m, 8))
		count = 1 + below(m, 40);
	n = count < HCALL_BATCH_MAX_OPS ? count : HCALL_BATCH_MAX_OPS;
	gpa = gpa_place(m, BATCHES, 0x4000, 8, n * sizeof(ops[0]));
	if (!rarely(m, 64))
		gpa &= ~7ull;
	m->depth++;
	memset(ops, 0, sizeof(ops[0]) * n);
	for (uint64_t i = 0; i < n; i++) {
		ops[i].number = call_make(m, ops[i].args);
		ops[i].flags = rarely(m, 3) ? HCALL_OP_LINK : 0;
		ops[i].cookie = any(m);
		if (rarely(m, 32))
			ops[i].flags = number_any(m);
		if (rarely(m, 48))
			ops[i].reserved = number_any(m);
	}
	m->depth--;
	store(m, m->who, gpa, ops, sizeof(ops[0]) * n);
	args[0] = gpa;
	args[1] = count;
	args[2] = rarely(m, 32) ? number_any(m) : below(m, 2);
	args[3] = args[2] == HCALL_BATCH_ASYNC ? 512 + below(m, 16) : 0;
	if (rarely(m, 48))
		args[3] = below(m, 1030);
}

static void queue_make(struct maker *m, uint64_t dev, uint32_t i,
		       uint64_t args[4])
{
	static const uint16_t zero;
	uint64_t area = queue_area(dev, i);
	struct hcall_virtio_queue info = {
		.size = rarely(m, 3) ? 1u << below(m, 10) : 16,
		.channel = 512 + below(m, 100),
		.desc = area,
		.driver = area + 0x1000,
		.device = area + 0x2000,
	};
	uint64_t gpa = gpa_place(m, INFOS, 64, 16, sizeof(info));

	if (rarely(m, 24))
		info.desc = gpa_any(m) & ~15ull;
	if (rarely(m, 24))
		info.driver = gpa_any(m) & ~1ull;
	if (rarely(m, 24))
		info.device = gpa_any(m) & ~3ull;
	if (rarely(m, 24))
		(&info.desc)[below(m, 3)] =
			gpa_over_end(m, 16 * info.size) & ~15ull;
	if (rarely(m, 32))
		((uint32_t *)&info)[below(m, 10)] = number_any(m);
	store(m, m->who, area + 0x1002, &zero, 2);
	store(m, m->who, gpa, &info, sizeof(info));
	args[0] = dev;
	args[1] = i;
	args[2] = gpa;
	args[3] = rarely(m, 24) ? length_any(m, 64) : sizeof(info);
}

/* From a reset to a device that runs, or one step of it not quite right. */
static void driver_make(struct maker *m, uint64_t dev)
{
	uint64_t args[4];

	call_step(m, HCALL_VIRTIO_STATUS, dev, 0, 0, 0);
	call_step(m, HCALL_VIRTIO_STATUS, dev, 3, 0, 0);
	call_step(m, HCALL_VIRTIO_FEATURES, dev, features_any(m, dev), 0, 0);
	if (!rarely(m, 32))
		call_step(m, HCALL_VIRTIO_STATUS, dev, SET_UP, 0, 0);
	for (uint32_t i = 0; i < dev_queues(dev); i++) {
		if (rarely(m, 16))
			continue;
		queue_make(m, dev, i, args);
		call_step(m, HCALL_VIRTIO_QUEUE, args[0], args[1], args[2],
			  args[3]);
	}
	call_step(m, HCALL_VIRTIO_STATUS, dev, RUNNING, 0, 0);
}

static struct vring_desc desc_any(struct maker *m, uint32_t size)
{
	struct vring_desc d = {
		.addr = gpa_any(m),
		.len = length_any(m, 65536),
		.flags = any(m) & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE),
		.next = below(m, size),
	};

	if (rarely(m, 8)) {
		d.flags = VRING_DESC_F_INDIRECT;
		d.addr = INDIRECT + (any(m) & 0xfff0);
		d.len = (1 + below(m, 20)) * 16;
	}
	if (rarely(m, 64))
		d.flags = any(m);
	if (rarely(m, 64))
		d.next = any(m);
	return d;
}

/* A request as the kind of device wants it: up to three buffers. */
static uint32_t request_make(struct maker *m, uint64_t dev, uint32_t queue,
			     struct vring_desc d[3])
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN,
					  VIRTIO_BLK_T_IN,
					  VIRTIO_BLK_T_OUT,
					  VIRTIO_BLK_T_OUT,
					  VIRTIO_BLK_T_FLUSH,
					  VIRTIO_BLK_T_GET_ID,
					  VIRTIO_BLK_T_DISCARD,
					  VIRTIO_BLK_T_WRITE_ZEROES,
					  99 };
	uint64_t head = HEADS + below(m, 256) * 16;
	uint16_t in = VRING_DESC_F_WRITE;

	memset(d, 0, 3 * sizeof(d[0]));
	if (dev >> 8 == HCALL_CLASS_BLOCK) {
		struct virtio_blk_outhdr h = {
			.type = types[below(m, 9)],
			.sector = rarely(m, 24) ? number_any(m)
						: below(m, READONLY_SECTORS),
		};
		struct virtio_blk_discard_write_zeroes range = {
			.sector = h.sector,
			.num_sectors = 1 + below(m, 64),
			.flags = below(m, 2),
		};
		uint64_t data = gpa_any(m);

		store(m, m->who, head, &h, sizeof(h));
		if (h.type == VIRTIO_BLK_T_DISCARD ||
		    h.type == VIRTIO_BLK_T_WRITE_ZEROES)
			store(m, m->who, data, &range, sizeof(range));
		if (h.type == VIRTIO_BLK_T_OUT || h.type > 8)
			in = 0;
		d[0] = (struct vring_desc){ head, 16, 0, 0 };
		d[1] = (struct vring_desc){
			data, h.type > 8 ? 16 : 512 * (1 + below(m, 9)), in, 0
		};
		d[2] = (struct vring_desc){ gpa_any(m), 1, VRING_DESC_F_WRITE,
					    0 };
		if (h.type == VIRTIO_BLK_T_FLUSH) {
			d[1] = d[2];
			return 2;
		}
		return 3;
	}
	if (dev >> 8 == HCALL_CLASS_NET && queue == dev_queues(dev) - 1) {
		struct {
			uint8_t class_id, command;
			uint8_t bytes[14];
		} control = { .class_id = 4 + below(m, 2) };

		control.bytes[0] = 1 + below(m, PAIRS + 1);
		if (rarely(m, 8))
			memset(control.bytes, any(m), 8);
		store(m, m->who, head, &control, sizeof(control));
		d[0] = (struct vring_desc){ head,
					    control.class_id == 4 ? 4 : 10, 0,
					    0 };
		d[1] = (struct vring_desc){ gpa_any(m), 1, VRING_DESC_F_WRITE,
					    0 };
		return 2;
	}
	if (dev != HCALL_VIRTIO_RNG && queue % 2)
		in = 0;
	d[0] = (struct vring_desc){ gpa_any(m), 8 + below(m, 2000), in, 0 };
	if (dev >> 8 == HCALL_CLASS_INPUT)
		d[0].len = 8;
	if (rarely(m, 2))
		return 1;
	d[1] = (struct vring_desc){ gpa_any(m), length_any(m, 65536), in, 0 };
	return 2;
}

/* Requests in a queue, and a kick. */
static void kick_make(struct maker *m, uint64_t args[4])
{
	uint64_t dev = dev_any(m), area, to;
	uint32_t queue = below(m, dev_queues(dev)), n = 1 + below(m, 4), at, k;
	struct vring_desc d[3];
	uint16_t ring[16], heads[4];

	args[0] = dev;
	args[1] = rarely(m, 48) ? number_any(m) : queue;
	args[2] = rarely(m, 48) ? number_any(m) : below(m, 2);
	args[3] = 0;
	if (dev >= 8 << 8)
		return;
	area = queue_area(dev, queue);
	at = below(m, 16);
	for (uint32_t i = 0; i < n; i++) {
		k = request_make(m, dev, queue, d);
		heads[i] = at;
		if (rarely(m, 12))
			d[below(m, k)] = desc_any(m, 16);
		to = area;
		if (rarely(m, 6)) {
			struct vring_desc table = { INDIRECT +
							    below(m, 0x80) * 64,
						    k * 16,
						    VRING_DESC_F_INDIRECT, 0 };

			store(m, m->who, area + at % 16 * 16, &table, 16);
			for (uint32_t j = 0; j + 1 < k; j++) {
				d[j].flags |= VRING_DESC_F_NEXT;
				d[j].next = j + 1;
			}
			store(m, m->who, table.addr, d, k * 16);
			at = (at + 1) % 16;
			continue;
		}
		for (uint32_t j = 0; j < k; j++) {
			if (j + 1 < k) {
				d[j].flags |= VRING_DESC_F_NEXT;
				d[j].next = (at + 1) % 16;
			}
			store(m, m->who, to + at % 16 * 16, &d[j], 16);
			at = (at + 1) % 16;
		}
	}
	for (int i = 0; i < 16; i++)
		ring[i] = rarely(m, 200) ? any(m) : heads[i % n];
	store(m, m->who, area + 0x1004, ring, sizeof(ring));
	if (rarely(m, 16)) {
		ring[0] = any(m);
		store(m, m->who, area + 0x1000, ring, 2); /* flags */
		store(m, m->who, area + 0x1004 + 32, ring, 2); /* used_event */
	}
	add_step(m, STEP_ADD, m->who, rarely(m, 64) ? any(m) : n, area + 0x1002,
		 0, 0, 0);
}

/* A call with its structures stored.  Return: its number. */
static uint64_t call_make(struct maker *m, uint64_t args[4])
{
	const struct call *call = call_any(m);
	uint64_t dev;

	/* Batches in batches are refused, but not looked at before that. */
	if ((m->depth && call->nr == HCALL_SYS_BATCH && !rarely(m, 8)) ||
	    (m->program->plain &&
	     (call->nr == HCALL_SYS_BATCH ||
	      HCALL_NR_CLASS(call->nr) == HCALL_CLASS_VIRTIO))) {
		memset(args, 0, 4 * sizeof(args[0]));
		return HCALL_EVENT_NEXT;
	}
	for (int i = 0; i < 4; i++)
		args[i] = arg_any(m, call, i);
	switch (call->nr) {
	case HCALL_SYS_BATCH:
		if (!m->depth)
			batch_make(m, args);
		break;
	case HCALL_NET_SENDV:
	case HCALL_NET_RECVV:
		frames_make(m, args);
		break;
	case HCALL_VIRTIO_KICK:
		kick_make(m, args);
		break;
	case HCALL_VIRTIO_QUEUE:
		dev = dev_any(m);
		if (dev < 8 << 8 && !rarely(m, 4))
			queue_make(m, dev, below(m, dev_queues(dev)), args);
		break;
	case HCALL_INPUT_WRITE:
		if (!rarely(m, 4)) {
			struct hcall_input_event e[] = { { 0x11, 0, 1 },
							 { 0x11, 1, 0 },
							 { 0, 0, 0 } };

			args[1] = allowed(DATA + below(m, 4096));
			args[2] = 1 + below(m, 3);
			store(m, m->who, args[1], e, sizeof(e));
		}
		break;
	case HCALL_NET_SEND:
		if (!rarely(m, 3)) {
			uint64_t header[2] = {};

			if (rarely(m, 3)) {
				header[0] = any(m);
				header[1] = any(m);
			}
			args[1] = allowed(DATA + below(m, 0x10000));
			args[2] = 26 + below(m, 1500);
			store(m, m->who, args[1], header, 12);
		}
		break;
	}
	if (rarely(m, 100))
		return number_any(m);
	if (rarely(m, 100))
		return call->nr + below(m, 16);
	if (rarely(m, 200))
		return call->nr + (any(m) & 0xff00);
	return call->nr;
}

/* Words of the structures of others, right and wrong. */
static void rewriter_make(struct maker *m)
{
	const struct program *p = m->program;
	uint32_t n = p->count;

	for (uint32_t i = 0; i < 400; i++) {
		struct step s = p->steps[below(m, n)];
		uint64_t gpa, word;

		if (s.kind != STEP_STORE || s.who == REWRITER || s.nr < 8)
			continue;
		gpa = s.args[0] + below(m, s.nr / 8) * 8;
		memcpy(&word, p->data + s.args[1] + (gpa - s.args[0]), 8);
		/* The wrong one, and later the right one again. */
		switch (below(m, 4)) {
		case 0:
			store(m, REWRITER, gpa, &word, 8);
			break;
		case 1:
			word = allowed(number_any(m));
			store(m, REWRITER, gpa, &word, 8);
			break;
		case 2:
			((uint32_t *)&word)[below(m, 2)] = number_any(m);
			word = allowed(word);
			store(m, REWRITER, gpa, &word, 8);
			break;
		default:
			((uint16_t *)&word)[below(m, 4)] ^= 1 << below(m, 16);
			word = allowed(word);
			store(m, REWRITER, gpa, &word, 8);
			break;
		}
	}
}

static void host_make(struct maker *m)
{
	static const uint8_t weights[DISTURBANCES] = {
		[HOST_RAISE] = 8,  [HOST_ROUTE] = 3,   [HOST_REPLACE] = 3,
		[HOST_RESIZE] = 2, [HOST_LINK] = 2,    [HOST_POLICY] = 1,
		[HOST_SLOT] = 2,   [HOST_MOVE] = 1,    [HOST_LOG] = 3,
		[HOST_SIGNAL] = 6, [HOST_NMI] = 4,     [HOST_MSI] = 2,
		[HOST_STATS] = 3,  [HOST_CALL_32] = 8, [HOST_CALL_USER] = 1,
	};
	uint32_t at = below(m, 49), what;

	for (what = 0; at >= weights[what]; what++)
		at -= weights[what];
	if (m->program->plain && what == HOST_POLICY)
		what = HOST_RAISE;
	add_step(m, STEP_HOST, HOST, what, any(m), any(m), any(m), any(m));
}

void program_make(struct program *p, uint64_t seed, uint64_t number,
		  uint32_t callers, uint64_t now_ns)
{
	struct maker m = { .program = p, .now_ns = now_ns };
	uint64_t args[4], nr, total, choices;

	memset(p, 0, sizeof(*p));
	m.state = seed;
	m.state = rnd(&m.state) ^ (number + 1) * 0xd1342543de82ef95u;
	choices = any(&m);
	p->seed = seed;
	p->number = number;
	p->callers = callers;
	p->plain = choices % 8 == 0;
	p->rewriter = !p->plain && choices >> 8 & 1;
	p->interrupts = choices >> 9 & 1;
	total = PROGRAM_CALLS * callers;
	for (uint32_t i = 0; !p->plain && i < 4; i++) {
		m.who = below(&m, callers);
		driver_make(&m, dev_any(&m) & 0x7ff);
	}
	for (uint32_t i = 0; i < total; i++) {
		m.who = below(&m, callers);
		if (!p->plain && rarely(&m, 100))
			driver_make(&m, dev_any(&m) & 0x7ff);
		nr = call_make(&m, args);
		call_step(&m, nr, args[0], args[1], args[2], args[3]);
		if (rarely(&m, 40))
			host_make(&m);
	}
	if (p->rewriter)
		rewriter_make(&m);
}

void program_free(struct program *p)
{
	free(p->steps);
	free(p->data);
}

/* With @data, that of all stores; NULL: without what is stored. */
void step_print(const struct step *s, const uint8_t *data)
{
	static const char *const hosts[] = {
		[HOST_RAISE] = "raise",
		[HOST_ROUTE] = "route",
		[HOST_REPLACE] = "replace",
		[HOST_RESIZE] = "resize",
		[HOST_LINK] = "link",
		[HOST_POLICY] = "policy",
		[HOST_SLOT] = "slot",
		[HOST_MOVE] = "move",
		[HOST_LOG] = "log",
		[HOST_SIGNAL] = "signal",
		[HOST_NMI] = "nmi",
		[HOST_MSI] = "msi",
		[HOST_STATS] = "stats",
		[HOST_CALL_32] = "32-bit call",
		[HOST_CALL_USER] = "call from user mode",
	};
	unsigned int call;

	switch (s->kind) {
	case STEP_CALL:
		call = call_find(s->nr);
		printf("vCPU %u: %s", s->who,
		       call < calls_nr ? calls[call].name : "call");
		if (call == calls_nr)
			printf(" %#llx", (unsigned long long)s->nr);
		for (int k = 0; k < 4; k++)
			printf(" %#llx", (unsigned long long)s->args[k]);
		break;
	case STEP_STORE:
		printf(s->who == REWRITER ? "rewriter: " : "vCPU %u: ", s->who);
		printf("store %llu bytes at %#llx:", (unsigned long long)s->nr,
		       (unsigned long long)s->args[0]);
		for (uint64_t k = 0; data && k < s->nr && k < 128; k += 8) {
			uint64_t word = 0;

			memcpy(&word, data + s->args[1] + k,
			       s->nr - k < 8 ? s->nr - k : 8);
			printf(" %llx", (unsigned long long)word);
		}
		break;
	case STEP_ADD:
		printf("vCPU %u: add %llu to the 16 bits at %#llx", s->who,
		       (unsigned long long)s->nr,
		       (unsigned long long)s->args[0]);
		break;
	default:
		printf("host: %s %#llx %#llx", hosts[s->nr],
		       (unsigned long long)s->args[0],
		       (unsigned long long)s->args[1]);
	}
}
