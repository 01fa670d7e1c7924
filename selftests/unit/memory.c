// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory (kmod/memory.c): each range that a guest can name, against a model
 * that asks for every byte by itself.
 */
#include "memory.h"
#include "world.h"

#define PAGE	 4096ull
#define NOWHERE	 (1ull << 52)

/*
 * Two slots side by side, a hole, one that is read-only, one that is not there any
 * more, one of guest_memfd, one that ends where 4 GiB do, and the last that KVM has.
 */
#define A	 0ull
#define B	 (2 * PAGE) /* logged */
#define B_END	 (5 * PAGE)
#define READONLY (6 * PAGE)
#define AFTER	 (7 * PAGE) /* logged, too */
#define INVALID	 (8 * PAGE)
#define GUEST_FD (10 * PAGE)
#define HIGH	 ((1ull << 32) - 2 * PAGE)
#define ABOVE	 (1ull << 32)
#define LAST	 (NOWHERE - PAGE)

static void begin(void)
{
	world_begin();
	world_slot(A, 2, 0);
	world_slot(B, 3, KVM_MEM_LOG_DIRTY_PAGES);
	world_slot(READONLY, 1, KVM_MEM_READONLY);
	world_slot(AFTER, 1, KVM_MEM_LOG_DIRTY_PAGES);
	world_slot(INVALID, 1, KVM_MEMSLOT_INVALID);
	world_slot(GUEST_FD, 1, KVM_MEM_GUEST_MEMFD);
	world_slot(HIGH, 2, 0);
	world_slot(ABOVE, 1, 0);
	world_slot(LAST, 1, 0);
}

/* An address near something, or anywhere. */
static u64 address(void)
{
	static const u64 near[] = { A,	     B,	   B_END, READONLY, AFTER,
				    INVALID, HIGH, ABOVE, GUEST_FD, LAST };

	if (!below(16))
		return edgy();
	return near[below(ARRAY_SIZE(near))] + below(PAGE + 20) - 10;
}

static u64 length(void)
{
	switch (below(8)) {
	case 0:
		return edgy();
	case 1:
		return below(7 * PAGE);
	case 2:
		return below(4) * PAGE + below(3) - 1;
	default:
		return below(40);
	}
}

/* ---- The model ----------------------------------------------------------------- */

static bool model_ok(u64 gpa, u64 len, bool write)
{
	if (!len || gpa > UINT64_MAX - len)
		return false;
	for (u64 i = 0; i < len; i++) {
		if (!world_at(gpa + i, write))
			return false;
	}
	return true;
}

/* Is it one piece of the launcher's memory? */
static bool model_in_one(u64 gpa, u64 len)
{
	for (u64 i = 0; i < len; i += PAGE) {
		u64 last = i + PAGE < len ? i + PAGE : len - 1;

		if (world_at(gpa + last, false) - world_at(gpa, false) != last)
			return false;
	}
	return true;
}

static bool model_logged(u64 gpa, u64 len)
{
	for (u64 i = 0; i < len; i++) {
		u64 at = gpa + i;

		if ((at >= B && at < B_END) || (at >= AFTER && at < INVALID))
			return true;
	}
	return false;
}

/* ---- One piece --------------------------------------------------------------------- */

static void test_range(void)
{
	const u64 max = UINT64_MAX;

	CHECK(!range_ok(0, 0));
	CHECK(range_ok(0, 1));
	CHECK(range_ok(0, max));
	CHECK(range_ok(1, max - 1));
	CHECK(!range_ok(1, max)); /* ends at 2^64 */
	CHECK(!range_ok(max, 1));
	CHECK(range_ok(max - 1, 1));
	CHECK(!range_ok(max - 1, 2));
	CHECK(!range_ok(max, max));
	CHECK(!range_ok(1ull << 63, 1ull << 63));
	CHECK(range_ok(1ull << 63, (1ull << 63) - 1));
	for (int i = 0; i < 100000; i++) {
		u64 gpa = edgy(), len = edgy();

		CHECK_EQ(range_ok(gpa, len),
			 len && (unsigned __int128)gpa + len <= max);
	}
}

static void check_one(u64 gpa, u64 len, bool ok)
{
	u8 byte;

	CHECK_EQ(hcall_check(&vm, gpa, len, ITER_DEST), ok ? 0 : -EFAULT);
	if (len == 1)
		CHECK_EQ(hcall_read(&vm, gpa, &byte, 1), ok ? 0 : -EFAULT);
}

static void test_edges(void)
{
	begin();
	check_one(A, 0, false);
	check_one(A, 1, true);
	check_one(PAGE - 1, 1, true);
	check_one(PAGE - 1, 2, true);
	check_one(B_END - 1, 1, true);
	check_one(B_END - 1, 2, false);
	check_one(B_END, 1, false);
	check_one(A, B_END, true);
	check_one(A, B_END + 1, false);
	check_one(A, UINT64_MAX, false);
	check_one(1, UINT64_MAX, false); /* up to 2^64 */
	check_one(2, UINT64_MAX, false); /* to 1 */
	check_one(READONLY - 1, 1, false);
	check_one(AFTER, PAGE, true);
	check_one(AFTER, PAGE + 1, false);
	check_one(AFTER - 1, 2, false);
	check_one(HIGH, 3 * PAGE, true);
	check_one(HIGH, 3 * PAGE + 1, false);
	check_one(HIGH, (1ull << 32) + 1, false);
	check_one(ABOVE - 1, 2, true);
	check_one(LAST, PAGE, true);
	check_one(LAST + PAGE - 1, 1, true);
	check_one(LAST + PAGE - 1, 2, false);
	check_one(NOWHERE, 1, false);
	check_one(UINT64_MAX, 1, false);
	check_one(UINT64_MAX - 1, 1, false);
	CHECK_EQ(hcall_check(&vm, READONLY, PAGE, ITER_SOURCE), 0);
	CHECK_EQ(hcall_check(&vm, READONLY, PAGE, ITER_DEST), -EFAULT);
	CHECK_EQ(hcall_check(&vm, INVALID, 1, ITER_SOURCE), -EFAULT);
	CHECK_EQ(hcall_check(&vm, GUEST_FD, 1, ITER_SOURCE), -EFAULT);
}

static void check_buffer(u64 gpa, u64 len, unsigned int dir)
{
	struct hcall_buffer buffer;
	bool ok = model_ok(gpa, len, dir == ITER_DEST);

	CHECK_EQ(hcall_buffer(&vm, gpa, len, dir, &buffer), ok ? 0 : -EFAULT);
	if (!ok)
		return;
	CHECK_EQ(iov_iter_count(&buffer.iter), len);
	CHECK_EQ(buffer.iter.data_source, dir);
	if (dir == ITER_DEST && model_logged(gpa, len))
		CHECK(buffer.logged);
	for (u64 i = 0; i < len; i++)
		CHECK(iov_iter_at(&buffer.iter, i) == world_at(gpa + i, false));
}

static void check_span(u64 gpa, u64 len)
{
	struct hcall_span span;
	bool ok = model_ok(gpa, len, true) && model_in_one(gpa, len);

	/* Two slots may by chance lie side by side in the launcher, too. */
	if (hcall_span(&vm, gpa, len, &span) != ok)
		CHECK(ok && model_ok(gpa, len, true));
	else if (ok)
		CHECK(span.user == world_at(gpa, true) &&
		      span.logged == model_logged(gpa, len));
}

static void check_read(u64 gpa, u64 len)
{
	bool ok = model_ok(gpa, len, false);
	u8 *to = malloc(ok ? len : 1);

	CHECK_EQ(hcall_read(&vm, gpa, to, ok ? len : 1),
		 ok || model_ok(gpa, 1, false) ? 0 : -EFAULT);
	for (u64 i = 0; ok && i < len; i++)
		CHECK_EQ(to[i], *world_at(gpa + i, false));
	free(to);
}

/* Writes, or nothing at all; and tells the launcher of just that. */
static void check_write(u64 gpa, u64 len)
{
	bool ok = model_ok(gpa, len, true);
	u8 *from = malloc(ok ? len : 1);

	/* What lies outside is refused before a byte is written: ASAN would see it. */
	for (u64 i = 0; ok && i < len; i++)
		from[i] = rnd();
	CHECK_EQ(hcall_write(&vm, gpa, from, len), ok ? 0 : -EFAULT);
	for (u64 i = 0; ok && i < len; i++)
		CHECK_EQ(*world_at(gpa + i, false), from[i]);
	free(from);
}

static const u64 logged[] = { B, B + PAGE, B + 2 * PAGE, AFTER };

static void clear_dirty(void)
{
	for (unsigned int i = 0; i < vm.binding.kvm->memslots[0]->n; i++) {
		struct kvm_memory_slot *slot =
			&vm.binding.kvm->memslots[0]->slot[i];

		if (slot->dirty_bitmap)
			*(u8 *)slot->dirty_bitmap = 0;
	}
}

static void check_dirty(u64 gpa, u64 len)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(logged); i++)
		CHECK_EQ(world_dirty(logged[i]),
			 len && gpa < logged[i] + PAGE &&
				 gpa + len > logged[i]);
}

static void one_range(void)
{
	u64 gpa = address(), len = length();
	unsigned int dir = below(2) ? ITER_DEST : ITER_SOURCE;

	CHECK_EQ(hcall_check(&vm, gpa, len, dir),
		 model_ok(gpa, len, dir == ITER_DEST) ? 0 : -EFAULT);
	check_buffer(gpa, len, dir);
	check_span(gpa, len);
	check_read(gpa, len);
	clear_dirty();
	check_write(gpa, len);
	check_dirty(gpa, model_ok(gpa, len, true) ? len : 0);
}

static void test_random(void)
{
	begin();
	for (int i = 0; i < 20000; i++)
		one_range();
}

/* Before hcall_dirty() the range was checked; by then it may be gone. */
static void test_dirty(void)
{
	begin();
	for (int i = 0; i < 20000; i++) {
		u64 gpa = address(), len = below(7 * PAGE);

		clear_dirty();
		hcall_dirty_outside(&vm, gpa, len);
		CHECK_EQ(vm.binding.kvm->srcu.readers, 0);
		if (model_ok(gpa, len, true))
			check_dirty(gpa, len);
	}
}

/* More slots than an iterator reaches over: their first part. */
static void test_many_slots(void)
{
	struct hcall_buffer buffer;
	u64 n;

	world_begin();
	for (n = 0; n < HCALL_SEGMENTS + 2; n++)
		world_slot(n * PAGE, 1, 0);
	for (n = 1; n <= HCALL_SEGMENTS; n++) {
		check_buffer(0, n * PAGE, ITER_DEST);
		check_buffer(PAGE - 1, (n - 1) * PAGE + 1, ITER_DEST);
	}
	CHECK_EQ(
		hcall_buffer(&vm, 5, HCALL_SEGMENTS * PAGE, ITER_DEST, &buffer),
		1);
	CHECK_EQ(iov_iter_count(&buffer.iter), HCALL_SEGMENTS * PAGE - 5);
	for (u64 i = 0; i < HCALL_SEGMENTS * PAGE - 5; i++)
		CHECK(iov_iter_at(&buffer.iter, i) == world_at(5 + i, true));
	CHECK_EQ(hcall_buffer(&vm, 0, n * PAGE, ITER_DEST, &buffer), 1);
	CHECK_EQ(hcall_buffer(&vm, 0, (n + 1) * PAGE, ITER_DEST, &buffer), 1);
	/* What it does not reach is checked nevertheless. */
	CHECK_EQ(hcall_buffer(&vm, 0, (n + 1) * PAGE + 1, ITER_DEST, &buffer),
		 -EFAULT);
}

static void test_prefix(void)
{
	static u8 header[12];

	begin();
	for (int i = 0; i < 3000; i++) {
		u64 gpa = address(), len = length();
		struct hcall_buffer buffer;
		unsigned int dir = below(2) ? ITER_DEST : ITER_SOURCE;

		if (hcall_buffer(&vm, gpa, len, dir, &buffer))
			continue;
		hcall_buffer_prefix(&buffer, header, sizeof(header));
		CHECK_EQ(buffer.iter.data_source, dir);
		CHECK_EQ(iov_iter_count(&buffer.iter), sizeof(header) + len);
		for (u64 j = 0; j < sizeof(header) + len; j++)
			CHECK(iov_iter_at(&buffer.iter, j) ==
			      (j < sizeof(header)
				       ? header + j
				       : world_at(gpa + j - sizeof(header),
						  false)));
	}
}

/* The launcher has taken its memory away, but not the slot. */
static void test_fault(void)
{
	u8 bytes[3 * PAGE];

	begin();
	shim.gone = world_at(B + PAGE, true);
	shim.gone_bytes = PAGE;
	CHECK_EQ(hcall_read(&vm, B, bytes, PAGE), 0);
	CHECK_EQ(hcall_read(&vm, B, bytes, PAGE + 1), -EFAULT);
	CHECK_EQ(hcall_read(&vm, A, bytes, 3 * PAGE), 0);
	CHECK_EQ(hcall_write(&vm, B + PAGE - 1, bytes, 1), 0);
	CHECK_EQ(hcall_write(&vm, B + PAGE - 1, bytes, 2), -EFAULT);
	CHECK_EQ(hcall_write(&vm, B + 2 * PAGE, bytes, PAGE), 0);
}

/* ---- Several pieces -------------------------------------------------------------------- */

#define PIECES 12

struct pieces {
	struct hcall_segment segment[PIECES];
	struct hcall_segments segments;
	struct iovec *iov;
	struct hcall_call call;
};

/* The address of the byte at @i of all pieces, from where the call's memory begins. */
static u64 piece_gpa(const struct pieces *p, u64 i)
{
	u64 at = i + p->segments.skip;
	unsigned int n = 0;

	while (at >= p->segment[n].len)
		at -= p->segment[n++].len;
	return p->segment[n].gpa + at;
}

static void make_pieces(struct pieces *p)
{
	unsigned int n = 1 + below(PIECES), i;
	u64 all = 0;

	for (i = 0; i < n; i++) {
		p->segment[i].gpa = address();
		p->segment[i].len = 1 + length() % (3 * PAGE);
		all += p->segment[i].len;
	}
	p->segments = (struct hcall_segments){
		.segment = p->segment,
		.skip = below(p->segment[0].len),
		.iovs = 1 + below(n + HCALL_SEGMENTS),
	};
	p->segments.gpa = p->segment[0].gpa + p->segments.skip;
	p->segments.bytes = all - p->segments.skip;
	p->iov = malloc(p->segments.iovs * sizeof(*p->iov));
	p->segments.iov = p->iov;
	p->call = (struct hcall_call){ .vm = &vm, .segments = &p->segments };
}

static bool pieces_ok(const struct pieces *p, u64 offset, u64 len, bool write)
{
	if (offset > p->segments.bytes || len > p->segments.bytes - offset)
		return false;
	for (u64 i = 0; i < len; i++) {
		u64 gpa = piece_gpa(p, offset + i);

		/* No piece wraps around, and so none has the last byte of all. */
		if (gpa == UINT64_MAX || !world_at(gpa, write))
			return false;
	}
	return true;
}

static void check_pieces_buffer(struct pieces *p, u64 len)
{
	u64 gpa = p->segments.gpa, i;
	struct hcall_buffer buffer;
	unsigned int dir = below(2) ? ITER_DEST : ITER_SOURCE;
	bool ok = pieces_ok(p, 0, len, dir == ITER_DEST);
	int ret = hcall_call_buffer(&p->call, gpa, len, dir, &buffer);

	CHECK_EQ(hcall_call_check(&p->call, gpa, len, dir), ok ? 0 : -EFAULT);
	if (!ok) {
		CHECK_EQ(ret, -EFAULT);
		return;
	}
	CHECK(ret == 0 || ret == 1);
	if (ret)
		CHECK(buffer.iter.nr_segs == p->segments.iovs &&
		      iov_iter_count(&buffer.iter) < len);
	else
		CHECK_EQ(iov_iter_count(&buffer.iter), len);
	for (i = 0; i < iov_iter_count(&buffer.iter); i++)
		CHECK(iov_iter_at(&buffer.iter, i) ==
		      world_at(piece_gpa(p, i), false));
	for (i = 0; dir == ITER_DEST && i < len; i++) {
		if (model_logged(piece_gpa(p, i), 1))
			CHECK(buffer.logged);
	}
}

static void check_pieces_copy(struct pieces *p, u64 offset, u64 len)
{
	u8 *copy = malloc(len), *from = malloc(len);
	u64 gpa = p->segments.gpa, i;
	bool ok = pieces_ok(p, offset, len, false);

	CHECK_EQ(hcall_call_read(&p->call, gpa, offset, copy, len),
		 ok ? 0 : -EFAULT);
	for (i = 0; ok && i < len; i++)
		CHECK_EQ(copy[i], *world_at(piece_gpa(p, offset + i), false));
	ok = pieces_ok(p, offset, len, true);
	for (i = 0; i < len; i++)
		from[i] = rnd();
	CHECK_EQ(hcall_call_write(&p->call, gpa, offset, from, len),
		 ok ? 0 : -EFAULT);
	/* Where pieces overlap, the last one counts. */
	for (i = 0; ok && i < len; i++) {
		u8 *at = world_at(piece_gpa(p, offset + i), true);
		u64 last = i;

		for (u64 j = i + 1; j < len; j++) {
			if (world_at(piece_gpa(p, offset + j), true) == at)
				last = j;
		}
		CHECK_EQ(*at, from[last]);
	}
	free(from);
	free(copy);
}

static void one_pieces(void)
{
	struct pieces p;
	u64 len, offset;

	make_pieces(&p);
	len = 1 + below(p.segments.bytes);
	check_pieces_buffer(&p, len);
	check_pieces_buffer(&p, p.segments.bytes);
	offset = below(p.segments.bytes + 3);
	len = 1 + below(40);
	check_pieces_copy(&p, offset, len);
	CHECK_EQ(hcall_call_check(&p.call, p.segments.gpa, p.segments.bytes + 1,
				  ITER_SOURCE),
		 -EFAULT);
	len = 1 + below(p.segments.bytes);
	if (pieces_ok(&p, 0, len, true)) {
		clear_dirty();
		hcall_call_dirty(&p.call, p.segments.gpa, len);
		for (u64 i = 0; i < len; i++) {
			u64 gpa = piece_gpa(&p, i);

			CHECK_EQ(world_dirty(gpa), model_logged(gpa, 1));
		}
	}
	free(p.iov);
}

static void test_pieces(void)
{
	begin();
	for (int i = 0; i < 6000; i++)
		one_pieces();
}

/* What a program has changed means another memory, in one piece. */
static void test_other_memory(void)
{
	struct pieces p;
	u8 byte;

	begin();
	make_pieces(&p);
	p.segments.gpa = A;
	CHECK_EQ(hcall_call_read(&p.call, A + 1, 7, &byte, 1), 0);
	CHECK_EQ(byte, *world_at(A + 8, false));
	CHECK_EQ(hcall_call_read(&p.call, UINT64_MAX, 0, &byte, 1), -EFAULT);
	CHECK_EQ(hcall_call_check(&p.call, NOWHERE, 1, ITER_SOURCE), -EFAULT);
	free(p.iov);
}

const struct test tests[] = {
	{ "memory.range", test_range },
	{ "memory.edges", test_edges },
	{ "memory.random", test_random },
	{ "memory.dirty", test_dirty },
	{ "memory.many_slots", test_many_slots },
	{ "memory.prefix", test_prefix },
	{ "memory.fault", test_fault },
	{ "memory.pieces", test_pieces },
	{ "memory.other_memory", test_other_memory },
};

const unsigned int nr_tests = ARRAY_SIZE(tests);

void fuzz(void)
{
	begin();
	for (int i = 0; i < 10 && fuzz_left(); i++) {
		if (below(2))
			one_range();
		else
			one_pieces();
	}
}
