// SPDX-License-Identifier: GPL-2.0
/*
 * Split virtqueues (kmod/virtio/queue.c): a driver and a device of the test's own
 * around them, and a model that follows the text of virtio 1.2, 2.7.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "memory.h"
#include "virtio/virtio.h"
#include "world.h"

#define PAGE	     4096ull
#define CHANNEL	     600
#define CONFIG	     70
#define MAX	     HCALL_VIRTIO_MAX_SIZE
#define PLACE_DESC   0x10000ull
#define PLACE_AVAIL  0x20000ull
#define PLACE_USED   0x30000ull
#define PLACE_TABLE  0x40000ull
#define PLACE_BUFFER 0x100000ull
#define BUFFERS	     32 /* pages, in slots of 8 */

/* ---- What is around the queue --------------------------------------------------- */

static u32 fired, config_fired;

bool hcall_fire(struct hcall_vm *of, u32 channel)
{
	BUG_ON(of != &vm || (channel != CHANNEL && channel != CONFIG));
	fired += channel == CHANNEL;
	config_fired += channel == CONFIG;
	return true;
}

static bool no_workers;

int hcall_workers_start(struct hcall_vm *of)
{
	return no_workers ? -ENOMEM : 0;
}

static struct hcall_work *works[4 * MAX];
static unsigned int nr_works;

void hcall_work_queue(struct hcall_vm *of, struct hcall_work *work)
{
	BUG_ON(nr_works == ARRAY_SIZE(works));
	works[nr_works++] = work;
}

/* Do one of what waits, in any order. */
static enum hcall_work_state work_run(unsigned int i)
{
	struct hcall_work *work = works[i];

	works[i] = works[--nr_works];
	return work->run(work);
}

/* ---- The device: keeps what it gets to see ------------------------------------------ */

struct piece {
	u64 gpa;
	u32 len;
	bool write;
};

struct request {
	u16 parts, head;
	unsigned int pieces;
	struct piece piece[MAX];
	u64 in, out;
};

static struct request asked[4 * MAX];
static unsigned int nr_asked;
static s64 room; /* of the next answer */
static s64 (*answer)(const struct request *request);

static s64 all(const struct request *request)
{
	return request->in;
}

static s64 device_room(struct hcall_queue *queue, struct hcall_call *call)
{
	return room;
}

static u64 chain_gpa(const struct hcall_segment *segment, u64 i)
{
	while (i >= segment->len)
		i -= segment++->len;
	return segment->gpa + i;
}

/* Any part of a request's memory is what its pieces are. */
static void check_memory(struct hcall_chain *chain, struct hcall_call *call,
			 unsigned int dir, u64 all)
{
	const struct hcall_segment *segment = chain->segment;
	u64 offset, len, gpa;
	u8 bytes[64];
	bool ok = true;

	if (dir == ITER_DEST)
		segment += chain->readable;
	if (!all)
		return;
	offset = below(all);
	len = 1 + below(min(all - offset, sizeof(bytes)));
	hcall_chain_memory(chain, dir, offset, len, call, &gpa);
	CHECK_EQ(gpa, chain_gpa(segment, offset));
	for (u64 i = 0; i < len; i++)
		ok = ok && world_at(chain_gpa(segment, offset + i), false);
	CHECK_EQ(hcall_call_read(call, gpa, 0, bytes, len), ok ? 0 : -EFAULT);
	for (u64 i = 0; ok && i < len; i++)
		CHECK_EQ(bytes[i],
			 *world_at(chain_gpa(segment, offset + i), false));
	call->segments = NULL;
}

static s64 device_request(struct hcall_queue *queue, struct hcall_chain *chain,
			  struct hcall_call *call)
{
	struct request *request = &asked[nr_asked++ % ARRAY_SIZE(asked)];

	CHECK(chain->parts >= 1 && chain->parts <= HCALL_CHAIN_PARTS);
	CHECK(chain->readable + chain->writable <= MAX);
	*request = (struct request){
		.parts = chain->parts,
		.head = chain->part[0].head,
		.pieces = chain->readable + chain->writable,
		.in = chain->in,
		.out = chain->out,
	};
	for (unsigned int i = 0; i < request->pieces; i++)
		request->piece[i] = (struct piece){ chain->segment[i].gpa,
						    chain->segment[i].len,
						    i >= chain->readable };
	if (!shim.fetched) {
		check_memory(chain, call, ITER_SOURCE, chain->out);
		check_memory(chain, call, ITER_DEST, chain->in);
	}
	if (call->nowait)
		return HCALL_DEFER;
	return answer(request);
}

static struct hcall_virtio device;
static struct hcall_queue *queue;
static struct hcall_front *front;

/* ---- The driver ------------------------------------------------------------------------ */

static struct vring_desc *desc;
static struct vring_avail *avail;
static struct vring_used *used;
static u16 avail_idx, used_idx;
static u32 size;

static s64 set(u32 n, u64 at_desc, u64 at_avail, u64 at_used)
{
	struct hcall_virtio_queue info = {
		.size = n,
		.channel = CHANNEL,
		.desc = at_desc,
		.driver = at_avail,
		.device = at_used,
	};

	return hcall_queue_set(queue, &info);
}

/* What the driver sees of a queue that is somewhere. */
static void attach(u32 n, u64 at_desc, u64 at_avail, u64 at_used)
{
	CHECK_EQ(set(n, at_desc, at_avail, at_used), 0);
	size = n;
	desc = (void *)world_at(at_desc, true);
	avail = (void *)world_at(at_avail, true);
	used = (void *)world_at(at_used, true);
	avail->flags = 0;
	avail->idx = 0;
	used->flags = 0;
	used->idx = 0;
	avail_idx = 0;
	used_idx = 0;
	nr_asked = 0;
	fired = 0;
	config_fired = 0;
	front->status.counter = VIRTIO_CONFIG_S_DRIVER_OK;
}

static void finish(void)
{
	while (nr_works) {
		nr_works--;
		works[nr_works]->drop(works[nr_works]);
	}
	free(queue);
	free(front);
	queue = NULL;
	front = NULL;
}

static void begin(void)
{
	finish();
	world_begin();
	world_slot(PLACE_DESC, 2, 0);
	world_slot(PLACE_AVAIL, 1, 0);
	world_slot(PLACE_USED, 2, KVM_MEM_LOG_DIRTY_PAGES);
	world_slot(PLACE_TABLE, 4, 0);
	for (u64 i = 0; i < BUFFERS; i += 8)
		world_slot(PLACE_BUFFER + i * PAGE, 8, 0);
	device = (struct hcall_virtio){ .request = device_request };
	answer = all;
	no_workers = false;
	room = 0;
	front = calloc(1, sizeof(*front) + sizeof(queue));
	queue = calloc(1, sizeof(*queue));
	NEED(front && queue);
	front->vm = &vm;
	front->virtio = &device;
	front->channel = CONFIG;
	front->queues = 1;
	front->queue[0] = queue;
	hcall_queue_init(queue, front, 0);
}

static void begin_size(u32 n)
{
	begin();
	attach(n, PLACE_DESC, PLACE_AVAIL, PLACE_USED);
}

static void feature(unsigned int bit)
{
	front->features |= 1ull << bit;
}

static void put(u32 i, u64 gpa, u32 len, u16 flags, u16 next)
{
	desc[i] = (struct vring_desc){ gpa, len, flags, next };
}

static void offer(u16 head)
{
	avail->ring[avail_idx % size] = head;
	avail->idx = ++avail_idx;
}

static s64 kick(void)
{
	s64 ret = hcall_queue_kick(queue, NULL, true);

	CHECK(!queue->lock.held);
	return ret;
}

/* After MAX requests it has to be called again, and has told by the channel. */
static s64 kick_all(void)
{
	u32 before = fired;
	s64 ret;

	do {
		ret = kick();
	} while (ret == -HCALL_EAGAIN);
	CHECK(fired - before <= 1);
	before = fired - before;
	fired = 0;
	return ret < 0 ? ret : ret || before;
}

static bool broken(void)
{
	return front->status.counter & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* The queue breaks, the driver hears of it, and then nothing happens any more. */
static void check_breaks(void)
{
	CHECK_EQ(kick(), -HCALL_EIO);
	CHECK(broken());
	CHECK_EQ(config_fired, 1);
	CHECK_EQ(kick(), -HCALL_EIO);
	CHECK_EQ(config_fired, 1);
}

/* The next answer in the used ring. */
static void check_used(u32 id, u32 len)
{
	CHECK((u16)(used->idx - used_idx) > 0);
	CHECK_EQ(used->ring[used_idx % size].id, id);
	CHECK_EQ(used->ring[used_idx % size].len, len);
	used_idx++;
}

/* ---- Where a queue can be ------------------------------------------------------------------ */

static void test_set(void)
{
	struct hcall_virtio_queue good = {
		.size = 8,
		.channel = CHANNEL,
		.desc = PLACE_DESC,
		.driver = PLACE_AVAIL,
		.device = PLACE_USED,
	}, info;

	begin();
	for (u32 n = 0; n < 3 * MAX; n++)
		CHECK_EQ(set(n, PLACE_DESC, PLACE_AVAIL, PLACE_USED),
			 n && !(n & (n - 1)) && n <= MAX ? 0 : -HCALL_EINVAL);
	CHECK_EQ(set(UINT32_MAX, PLACE_DESC, PLACE_AVAIL, PLACE_USED),
		 -HCALL_EINVAL);
	CHECK_EQ(set(1u << 31, PLACE_DESC, PLACE_AVAIL, PLACE_USED),
		 -HCALL_EINVAL);
	for (u64 off = 0; off < 32; off++) {
		CHECK_EQ(set(8, PLACE_DESC + off, PLACE_AVAIL, PLACE_USED),
			 off % 16 ? -HCALL_EINVAL : 0);
		CHECK_EQ(set(8, PLACE_DESC, PLACE_AVAIL + off, PLACE_USED),
			 off % 2 ? -HCALL_EINVAL : 0);
		CHECK_EQ(set(8, PLACE_DESC, PLACE_AVAIL, PLACE_USED + off),
			 off % 4 ? -HCALL_EINVAL : 0);
	}
	info = good;
	info.reserved = 1;
	CHECK_EQ(hcall_queue_set(queue, &info), -HCALL_EINVAL);
	info = good;
	info.channel = HCALL_CHANNEL_GUEST - 1;
	CHECK_EQ(hcall_queue_set(queue, &info), -HCALL_EINVAL);
	info.channel = HCALL_CHANNELS;
	CHECK_EQ(hcall_queue_set(queue, &info), -HCALL_EINVAL);
	info.channel = HCALL_CHANNELS - 1;
	CHECK_EQ(hcall_queue_set(queue, &info), 0);
	CHECK_EQ(set(8, 0, PLACE_AVAIL, PLACE_USED), -HCALL_EFAULT);
	CHECK_EQ(kick(), -HCALL_EINVAL); /* it has no queue now */
	CHECK_EQ(set(8, -16ull, PLACE_AVAIL, PLACE_USED), -HCALL_EFAULT);
	CHECK_EQ(set(8, PLACE_DESC, -2ull, PLACE_USED), -HCALL_EFAULT);
	CHECK_EQ(set(8, PLACE_DESC, PLACE_AVAIL, -4ull), -HCALL_EFAULT);
	shim.signal = true;
	CHECK_EQ(hcall_queue_set(queue, &good), -HCALL_EINTR);
}

/* Every ring ends where its memslot does: the sanitizer sees a step too far. */
static void test_exact_end(void)
{
	for (u32 n = 1; n <= MAX; n *= 2) {
		u64 at_desc = PLACE_DESC + 2 * PAGE - 16 * n;
		u64 at_avail = PLACE_AVAIL + PAGE - (6 + 2 * n);
		u64 at_used = PLACE_USED + 2 * PAGE - (6 + 8 * n);

		for (int event_idx = 0; event_idx < 2; event_idx++) {
			begin();
			/* 6 + 8n is no multiple of 4. */
			at_used &= ~3ull;
			CHECK_EQ(set(n, at_desc + 16, at_avail, at_used),
				 -HCALL_EFAULT);
			CHECK_EQ(set(n, at_desc, at_avail + 2, at_used),
				 -HCALL_EFAULT);
			CHECK_EQ(set(n, at_desc, at_avail, at_used + 4),
				 -HCALL_EFAULT);
			if (event_idx)
				feature(VIRTIO_RING_F_EVENT_IDX);
			attach(n, at_desc, at_avail, at_used);
			for (u32 i = 0; i < 3 * n; i++) {
				put(i % n, PLACE_BUFFER + i, 1,
				    VRING_DESC_F_WRITE, 0);
				offer(i % n);
				CHECK(kick() >= 0);
				check_used(i % n, 1);
			}
		}
	}
}

/* ---- Indices ----------------------------------------------------------------------------------- */

static void test_avail(void)
{
	for (u32 n = 1; n <= MAX; n *= 2) {
		begin_size(n);
		CHECK_EQ(kick(), 0);
		CHECK_EQ(nr_asked, 0);
		for (u32 i = 0; i < n; i++) {
			put(i, PLACE_BUFFER, 1, 0, 0);
			avail->ring[i] = i;
		}
		avail->idx = n;
		CHECK_EQ(kick_all(), 1);
		CHECK_EQ(nr_asked, n);
		CHECK_EQ(used->idx, n);
		/* One more than there can be. */
		avail->idx = n + n + 1;
		check_breaks();
		CHECK_EQ(nr_asked, n);

		begin_size(n);
		avail->idx = 0xffff; /* backwards */
		check_breaks();

		begin_size(n);
		avail->ring[0] = n;
		avail->idx = 1;
		check_breaks();
		CHECK_EQ(nr_asked, 0);
	}
}

/*
 * Indices wrap around at 65536, however the driver looks at them.  Whether it is
 * told is the text's rule, entry by entry: has the one that it named been used?
 */
static void run_around(u32 n, bool event_idx, u32 requests)
{
	u16 told = 0, k;
	u32 free = n, done = 0;

	begin_size(n);
	if (event_idx)
		feature(VIRTIO_RING_F_EVENT_IDX);
	for (u32 i = 0; i < n; i++)
		put(i, PLACE_BUFFER + i, 1 + i, VRING_DESC_F_WRITE, 0);
	while (done < requests) {
		u32 batch = below(free + 1);
		u16 event = used_idx + below(4) * below(n + 1) - below(n + 1);
		bool wanted = false;

		avail->ring[size] = event;
		avail->flags = below(2);
		for (u32 i = 0; i < batch; i++) {
			u16 head = below(n);

			CHECK_EQ(desc[head].len, 1 + head);
			avail->ring[avail_idx++ % size] = head;
		}
		avail->idx = avail_idx;
		for (k = told; k != avail_idx; k++)
			wanted = wanted || k == event;
		if (!event_idx)
			wanted = batch && !(avail->flags & 1);
		CHECK_EQ(kick_all(), wanted);
		if (batch)
			told = used->idx;
		CHECK_EQ(used->idx, avail_idx);
		if (event_idx)
			CHECK_EQ(*(u16 *)&used->ring[size], avail_idx);
		for (u32 i = 0; i < batch; i++) {
			u16 head = avail->ring[used_idx % size];

			check_used(head, 1 + head);
		}
		done += batch;
	}
	CHECK(avail_idx != requests);
}

static void test_wrap(void)
{
	run_around(1, true, 3 * 65536);
	run_around(4, false, 2 * 65536 + 3);
	run_around(64, true, 3 * 65536);
	run_around(MAX, false, 3 * 65536);
	run_around(MAX, true, 3 * 65536);
}

/* Who does not kick himself is told by his channel. */
static void test_fires(void)
{
	begin_size(4);
	put(0, PLACE_BUFFER, 1, 0, 0);
	offer(0);
	CHECK_EQ(hcall_queue_kick(queue, NULL, false), 0);
	CHECK_EQ(fired, 1);
	CHECK_EQ(hcall_queue_kick(queue, NULL, false), 0);
	CHECK_EQ(fired, 1);
	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	offer(0);
	CHECK_EQ(hcall_queue_kick(queue, NULL, false), 0);
	CHECK_EQ(fired, 1);
	CHECK_EQ(used->idx, 2);
}

static u64 trigger;

static void offer_late(const void *user, size_t bytes)
{
	/* Just after the device has found nothing new. */
	if (user == &avail->idx && !--trigger)
		offer(0);
}

/* What comes while the device tells where it wants to be kicked is seen. */
static void test_rearm(void)
{
	begin_size(4);
	feature(VIRTIO_RING_F_EVENT_IDX);
	put(0, PLACE_BUFFER, 1, 0, 0);
	offer(0);
	trigger = 2;
	shim.fetched = offer_late;
	kick();
	/* One, none, but when told, one; none, nor when told. */
	CHECK_EQ(trigger, (u64)-4);
	CHECK_EQ(used->idx, 2);
	CHECK_EQ(*(u16 *)&used->ring[size], 2);
}

/* ---- Chains ------------------------------------------------------------------------------------- */

/* By the text: what a request consists of, or false: the driver lies. */
static bool model_walk(u32 head, bool indirect_ok, struct request *request)
{
	const struct vring_desc *table = desc;
	u32 count = size, i = head;
	bool been[MAX] = {}, indirect = false;

	*request = (struct request){ .parts = 1, .head = head };
	for (;;) {
		struct vring_desc d;
		bool write;

		if (i >= count || been[i])
			return false; /* a loop, or out of the table */
		been[i] = true;
		d = table[i];
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!indirect_ok || indirect ||
			    d.flags & VRING_DESC_F_NEXT || !d.len ||
			    d.len % 16 || d.len / 16 > MAX)
				return false;
			for (u64 b = 0; b < d.len; b++)
				if (!world_at(d.addr + b, false))
					return false;
			indirect = true;
			table = (void *)world_at(d.addr, false);
			count = d.len / 16;
			memset(been, 0, sizeof(been));
			i = 0;
			continue;
		}
		write = d.flags & VRING_DESC_F_WRITE;
		if (!d.len || request->pieces == MAX)
			return false;
		if (!write && request->pieces &&
		    request->piece[request->pieces - 1].write)
			return false;
		request->piece[request->pieces++] =
			(struct piece){ d.addr, d.len, write };
		if (write)
			request->in += d.len;
		else
			request->out += d.len;
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
		i = d.next;
	}
	return request->in <= UINT32_MAX && request->out <= UINT32_MAX;
}

static void check_request(const struct request *got, const struct request *want)
{
	CHECK_EQ(got->parts, want->parts);
	CHECK_EQ(got->head, want->head);
	CHECK_EQ(got->in, want->in);
	CHECK_EQ(got->out, want->out);
	CHECK_EQ(got->pieces, want->pieces);
	for (unsigned int i = 0; i < want->pieces; i++)
		CHECK(got->piece[i].gpa == want->piece[i].gpa &&
		      got->piece[i].len == want->piece[i].len &&
		      got->piece[i].write == want->piece[i].write);
}

static u32 piece_len(void)
{
	if (below(40))
		return 1 + below(2 * PAGE);
	return below(2) ? 0 : (u32)edgy();
}

/* A table of a driver that is right, mostly. */
static void make_table(struct vring_desc *table, u32 n, bool indirect)
{
	u32 writes = below(n + 1);

	for (u32 i = 0; i < n; i++) {
		u16 flags = (i + 1 < n && below(5) ? VRING_DESC_F_NEXT : 0) |
			    (i >= writes ? VRING_DESC_F_WRITE : 0);

		table[i] = (struct vring_desc){
			PLACE_BUFFER + below(BUFFERS * PAGE), piece_len(),
			flags, below(60) ? i + 1 : (u16)edgy()
		};
		if (!below(100))
			table[i].flags = rnd();
		if (indirect && !below(4)) {
			u32 entries = below(30) ? 1 + below(20) : below(300);

			table[i].addr = PLACE_TABLE + below(100) * 16;
			table[i].len = entries * 16 + !below(50);
			table[i].flags = VRING_DESC_F_INDIRECT |
					 below(2) * VRING_DESC_F_WRITE |
					 !below(30) * VRING_DESC_F_NEXT;
			if (!below(60))
				table[i].addr = edgy();
		}
	}
}

/* Return: did it lie? */
static bool one_ring(void)
{
	u32 n = 1u << below(9), heads = 1 + below(min(n, 8u)), k;
	bool indirect = below(2);
	struct request want;
	u16 head[8];

	front->features = 0;
	if (indirect)
		feature(VIRTIO_RING_F_INDIRECT_DESC);
	attach(n, PLACE_DESC, PLACE_AVAIL, PLACE_USED);
	make_table(desc, n, below(3));
	make_table((void *)world_at(PLACE_TABLE, true), 200, !below(20));
	for (k = 0; k < heads; k++) {
		head[k] = below(20) ? below(n) : (u16)edgy();
		offer(head[k]);
	}
	/* 4 MiB are enough for one kick. */
	while (kick() == -HCALL_EAGAIN)
		;
	for (k = 0; k < heads; k++) {
		if (!model_walk(head[k], indirect, &want))
			break;
		check_request(&asked[k], &want);
		check_used(head[k], want.in);
	}
	CHECK_EQ(nr_asked, k);
	CHECK_EQ(used->idx, k);
	CHECK_EQ(broken(), k < heads);
	return broken();
}

static void test_chains(void)
{
	u32 lies = 0;

	begin();
	for (int i = 0; i < 20000; i++)
		lies += one_ring();
	CHECK(lies > 2000 && lies < 18000);
}

/* The longest that there can be, one more, and a loop. */
static void test_longest(void)
{
	struct vring_desc *table;

	for (u32 n = 2; n <= MAX; n *= 2) {
		begin_size(n);
		for (u32 i = 0; i < n; i++)
			put(i, PLACE_BUFFER + i, 1, VRING_DESC_F_NEXT, i + 1);
		desc[n - 1].flags = 0;
		offer(0);
		CHECK_EQ(kick(), 1);
		CHECK_EQ(asked[0].pieces, n);
		desc[n - 1].flags = VRING_DESC_F_NEXT;
		desc[n - 1].next = 0;
		offer(0);
		check_breaks();

		begin_size(n);
		put(0, PLACE_BUFFER, 1, VRING_DESC_F_NEXT, 0);
		offer(0);
		check_breaks();
	}
	/* 256 by a table; and with one before it. */
	for (u32 before = 0; before < 2; before++) {
		begin_size(2);
		feature(VIRTIO_RING_F_INDIRECT_DESC);
		table = (void *)world_at(PLACE_TABLE + 4 * PAGE - 16 * MAX,
					 true);
		for (u32 i = 0; i < MAX; i++)
			table[i] =
				(struct vring_desc){ PLACE_BUFFER + i, 1,
						     VRING_DESC_F_NEXT, i + 1 };
		table[MAX - 1].flags = 0;
		put(0, PLACE_BUFFER, 1, VRING_DESC_F_NEXT, 1);
		put(1, PLACE_TABLE + 4 * PAGE - 16 * MAX, 16 * MAX,
		    VRING_DESC_F_INDIRECT, 0);
		offer(before ? 0 : 1);
		if (before) {
			check_breaks();
		} else {
			CHECK_EQ(kick(), 1);
			CHECK_EQ(asked[0].pieces, MAX);
		}
		/* Without the feature there is no such thing. */
		front->features = 0;
		attach(2, PLACE_DESC, PLACE_AVAIL, PLACE_USED);
		offer(1);
		check_breaks();
	}
}

/* An answer's length has 32 bits. */
static void test_long_pieces(void)
{
	for (u64 last = 1; last < 4; last++) {
		for (u16 flags = 0; flags <= VRING_DESC_F_WRITE;
		     flags += VRING_DESC_F_WRITE) {
			begin_size(4);
			put(0, PLACE_BUFFER, 0x80000000,
			    flags | VRING_DESC_F_NEXT, 1);
			put(1, PLACE_BUFFER, 0x7ffffffe,
			    flags | VRING_DESC_F_NEXT, 2);
			put(2, PLACE_BUFFER, last, flags, 0);
			offer(0);
			if (last > 1) {
				check_breaks();
				continue;
			}
			CHECK_EQ(kick(), -HCALL_EAGAIN); /* enough for once */
			CHECK_EQ(asked[0].in + asked[0].out, UINT32_MAX);
			check_used(0, flags ? UINT32_MAX : 0);
		}
	}
}

static void change(const void *user, size_t bytes)
{
	memset((void *)user, 0xff, bytes);
}

/* Another CPU changes each thing as soon as it has been read: it is read once. */
static void one_hasty_ring(void)
{
	struct request want;
	u16 head = below(16);

	begin_size(16);
	feature(VIRTIO_RING_F_INDIRECT_DESC);
	make_table(desc, 16, true);
	make_table((void *)world_at(PLACE_TABLE, true), 200, false);
	offer(head);
	if (!model_walk(head, true, &want))
		return;
	shim.fetched = change;
	kick(); /* and then the driver lies, or seems to */
	shim.fetched = NULL;
	CHECK(nr_asked >= 1);
	check_request(&asked[0], &want);
	check_used(head, want.in);
}

static void test_read_once(void)
{
	for (int i = 0; i < 3000; i++)
		one_hasty_ring();
}

/* The launcher has taken the memory of a ring away. */
static void test_gone(void)
{
	begin_size(4);
	for (int i = 0; i < 6; i++) {
		const void *gone[] = {
			desc,		&avail->idx, &avail->ring[0],
			&used->ring[0], &used->idx,  &used->ring[size]
		};

		attach(4, PLACE_DESC, PLACE_AVAIL, PLACE_USED);
		feature(VIRTIO_RING_F_EVENT_IDX);
		put(0, PLACE_BUFFER, 1, 0, 0);
		offer(0);
		shim.gone = gone[i];
		shim.gone_bytes = 2;
		check_breaks();
		shim.gone = NULL;
	}
	/* The slot has gone. */
	attach(4, PLACE_DESC, PLACE_AVAIL, PLACE_USED);
	vm.binding.kvm->memslots[0]->slot[1].flags = KVM_MEMSLOT_INVALID;
	check_breaks();
}

/* ---- Answers ---------------------------------------------------------------------------------------- */

static s64 later(const struct request *request)
{
	return nr_asked % 2 ? -HCALL_EAGAIN : all(request);
}

static s64 interrupted(const struct request *request)
{
	return nr_asked % 2 ? -HCALL_EINTR : all(request);
}

static s64 lie(const struct request *request)
{
	return -HCALL_EFAULT;
}

static void test_put_back(void)
{
	begin_size(4);
	put(0, PLACE_BUFFER, 9, VRING_DESC_F_WRITE, 0);
	offer(0);
	answer = later;
	CHECK_EQ(kick(), 0);
	CHECK_EQ(used->idx, 0);
	CHECK_EQ(kick(), 1);
	check_used(0, 9);
	answer = interrupted;
	offer(0);
	CHECK_EQ(kick(), -HCALL_EINTR);
	CHECK_EQ(used->idx, 1);
	CHECK_EQ(kick(), 1);
	check_used(0, 9);
	answer = lie;
	offer(0);
	check_breaks();
	CHECK_EQ(used->idx, 2);
	/* There is nothing to answer with: nothing is taken. */
	begin_size(4);
	device.room = device_room;
	room = -1;
	put(0, PLACE_BUFFER, 9, VRING_DESC_F_WRITE, 0);
	offer(0);
	CHECK_EQ(kick(), 0);
	CHECK_EQ(nr_asked, 0);
}

static void offer_always(const void *user, size_t bytes)
{
	if (user == &avail->idx)
		offer(0);
}

static void signalled(const void *user, size_t bytes)
{
	shim.signal = true;
	offer_always(user, bytes);
}

/* One kick does no more than 256 requests or 4 MiB, and ends for a signal. */
static void test_bounded(void)
{
	u32 i;

	begin_size(MAX);
	for (i = 0; i < MAX; i++) {
		put(i, PLACE_BUFFER, 20000, 0, 0);
		avail->ring[i] = i;
	}
	avail->idx = MAX;
	CHECK_EQ(kick(), -HCALL_EAGAIN);
	CHECK_EQ(used->idx, (SZ_4M + 19999) / 20000);
	CHECK_EQ(kick(), 1);
	CHECK_EQ(used->idx, MAX);
	/* A driver that adds as fast as it can. */
	begin_size(1);
	put(0, PLACE_BUFFER, 1, 0, 0);
	offer(0);
	shim.fetched = offer_always;
	CHECK_EQ(kick(), -HCALL_EAGAIN);
	CHECK_EQ(used->idx, HCALL_KICK_REQUESTS);
	/* It has done something before it ends. */
	shim.fetched = signalled;
	CHECK_EQ(kick(), -HCALL_EAGAIN);
	CHECK_EQ(used->idx, HCALL_KICK_REQUESTS + 1);
}

/* ---- Several requests for one answer ------------------------------------------------------------------ */

static s64 answer_bytes;

static s64 bytes(const struct request *request)
{
	return answer_bytes;
}

static void test_parts(void)
{
	struct hcall_chain chain = {
		.parts = 3, .part = { { .in = 10 }, { .in = 1 }, { .in = 5 } }
	};

	CHECK_EQ(hcall_chain_parts(&chain, 0), 1);
	CHECK_EQ(hcall_chain_parts(&chain, 1), 1);
	CHECK_EQ(hcall_chain_parts(&chain, 10), 1);
	CHECK_EQ(hcall_chain_parts(&chain, 11), 2);
	CHECK_EQ(hcall_chain_parts(&chain, 12), 3);
	CHECK_EQ(hcall_chain_parts(&chain, 16), 3);
	CHECK_EQ(hcall_chain_parts(&chain, 17), 3);
	CHECK_EQ(hcall_chain_parts(&chain, UINT64_MAX), 3);
}

/*
 * As many requests as have room are taken, at most 64 or all that can be there; as
 * many as the answer needs are used, and the others are there for the next.
 */
static void one_room(void)
{
	u32 n = 1u << below(9), offered = below(n + 1), k, parts = 0;
	u32 most = below(2) ? 50 : 2000;
	u64 have = 0, left;
	u16 len[MAX];

	begin();
	device.room = device_room;
	answer = bytes;
	attach(n, PLACE_DESC, PLACE_AVAIL, PLACE_USED);
	for (k = 0; k < offered; k++) {
		len[k] = 1 + below(most);
		put(k, PLACE_BUFFER, len[k], VRING_DESC_F_WRITE, 0);
		offer(k);
	}
	room = 1 + below(3000);
	while (parts < offered && have < room && parts < HCALL_CHAIN_PARTS)
		have += len[parts++];
	answer_bytes = 1 + below(min_t(u64, have ?: 1, room));
	if (!parts || (have < room && parts < HCALL_CHAIN_PARTS && parts < n)) {
		/* Not enough: the next kick sees them all again. */
		CHECK_EQ(kick(), 0);
		CHECK_EQ(nr_asked, 0);
		CHECK_EQ(used->idx, 0);
		return;
	}
	kick_all();
	CHECK(nr_asked >= 1);
	CHECK_EQ(asked[0].parts, parts);
	CHECK_EQ(asked[0].in, have);
	left = answer_bytes;
	for (k = 0; left; k++) {
		u64 part = min_t(u64, left, len[k]);

		check_used(k, part);
		left -= part;
	}
	if (nr_asked > 1)
		CHECK_EQ(asked[1].head, k);
	CHECK(!broken());
}

static void test_room(void)
{
	for (int i = 0; i < 6000; i++)
		one_room();
}

/* Each has its 32 bits, of however many the answer has room in. */
static void test_long_parts(void)
{
	begin_size(4);
	device.room = device_room;
	room = 3000;
	answer = bytes;
	answer_bytes = 2000;
	put(0, PLACE_BUFFER, 1000, VRING_DESC_F_WRITE, 0);
	put(1, PLACE_BUFFER, UINT32_MAX, VRING_DESC_F_WRITE, 0);
	offer(0);
	offer(1);
	CHECK_EQ(kick_all(), 1);
	CHECK_EQ(asked[0].parts, 2);
	CHECK_EQ(asked[0].in, 1000 + (u64)UINT32_MAX);
	check_used(0, 1000);
	check_used(1, 1000);
	CHECK(!broken());
}

/* ---- What waits -------------------------------------------------------------------------------------------- */

static void one_deferred(void)
{
	u32 n = 1u << (1 + below(6)), k;
	bool done[MAX] = {};

	begin_size(n);
	device.unordered = true;
	for (k = 0; k < n; k++) {
		put(k, PLACE_BUFFER + k, 1 + k, VRING_DESC_F_WRITE, 0);
		offer(k);
	}
	CHECK_EQ(kick(), 0);
	CHECK_EQ(nr_works, n);
	CHECK_EQ(front->inflight.counter, n);
	CHECK_EQ(used->idx, 0);
	nr_asked = 0;
	for (k = 0; k < n; k++) {
		u32 id;

		CHECK_EQ(work_run(below(nr_works)), HCALL_WORK_GONE);
		CHECK_EQ(used->idx, k + 1);
		id = used->ring[k].id;
		CHECK(id < n && !done[id]);
		done[id] = true;
		CHECK_EQ(used->ring[k].len, 1 + id);
		CHECK_EQ(asked[k].head, id);
	}
	CHECK_EQ(fired, n);
	CHECK_EQ(front->inflight.counter, 0);
}

static void test_defer(void)
{
	for (int i = 0; i < 2000; i++)
		one_deferred();
}

/* Who names one descriptor again and again does not get more memory of ours. */
static void test_defer_bounded(void)
{
	begin_size(4);
	device.unordered = true;
	put(0, PLACE_BUFFER, 1, VRING_DESC_F_WRITE, 0);
	for (int i = 0; i < 4; i++)
		offer(0);
	CHECK_EQ(kick(), 0);
	CHECK_EQ(nr_works, 4);
	/* One more is done at once. */
	offer(0);
	CHECK_EQ(kick(), 1);
	CHECK_EQ(nr_works, 4);
	CHECK_EQ(used->idx, 1);
	/* So is all without memory, or without workers. */
	begin_size(4);
	device.unordered = true;
	shim.no_memory = true;
	put(0, PLACE_BUFFER, 1, VRING_DESC_F_WRITE, 0);
	offer(0);
	CHECK_EQ(kick(), 1);
	shim.no_memory = false;
	no_workers = true;
	offer(0);
	CHECK_EQ(kick(), 1);
	CHECK_EQ(nr_works, 0);
	CHECK_EQ(used->idx, 2);
	/* A queue that has been stopped is not written to. */
	no_workers = false;
	offer(0);
	CHECK_EQ(kick(), 0);
	hcall_queue_stop(queue);
	CHECK_EQ(work_run(0), HCALL_WORK_GONE);
	CHECK_EQ(used->idx, 2);
	CHECK_EQ(front->inflight.counter, 0);
}

const struct test tests[] = {
	{ "queue.set", test_set },
	{ "queue.exact_end", test_exact_end },
	{ "queue.avail", test_avail },
	{ "queue.wrap", test_wrap },
	{ "queue.fires", test_fires },
	{ "queue.rearm", test_rearm },
	{ "queue.chains", test_chains },
	{ "queue.longest", test_longest },
	{ "queue.long_pieces", test_long_pieces },
	{ "queue.read_once", test_read_once },
	{ "queue.gone", test_gone },
	{ "queue.put_back", test_put_back },
	{ "queue.bounded", test_bounded },
	{ "queue.parts", test_parts },
	{ "queue.room", test_room },
	{ "queue.long_parts", test_long_parts },
	{ "queue.defer", test_defer },
	{ "queue.defer_bounded", test_defer_bounded },
};

const unsigned int nr_tests = ARRAY_SIZE(tests);

void fuzz(void)
{
	switch (below(4)) {
	case 0:
		one_hasty_ring();
		break;
	case 1:
		one_room();
		break;
	case 2:
		one_deferred();
		break;
	default:
		begin();
		one_ring();
	}
	finish();
}
