// SPDX-License-Identifier: GPL-2.0
/*
 * Class 3, timer: never early, every period counted, and what is cancelled
 * does not fire.
 *
 * PERIODIC_SECONDS: how long the periodic test takes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

#define MONO   HCALL_CLOCK_MONOTONIC
#define REAL   HCALL_CLOCK_REALTIME
#define TAI    HCALL_CLOCK_TAI
#define SHARED (RAM + 0x20000)
#define MS     1000000ul
#define SECOND 1000000000ul
#define NEVER  ((uint64_t)INT64_MAX)

/* A new one for each test: a thread of one that has failed may live on. */
static struct vm *vm;

static void setup(void)
{
	vm = calloc(1, sizeof(*vm));
	NEED(vm);
	vm_new(vm);
	vm_guest(vm);
	vm_bind(vm);
}

static void teardown(void)
{
	vm_free(vm);
	free(vm);
	vm = NULL;
}

static uint64_t clock_ns(uint32_t clock)
{
	static const clockid_t id[] = { CLOCK_MONOTONIC, CLOCK_REALTIME,
					CLOCK_TAI };

	return host_ns(id[clock]);
}

static int64_t now(uint64_t clock)
{
	return call(vm, HCALL_TIMER_NOW, clock, 0, 0, 0);
}

static int64_t arm(uint64_t timer, uint64_t deadline, uint64_t period,
		   uint64_t clock)
{
	return call(vm, HCALL_TIMER_ARM, timer, deadline, period, clock);
}

static int64_t cancel(uint64_t timer)
{
	return call(vm, HCALL_TIMER_CANCEL, timer, 0, 0, 0);
}

static int64_t expired(uint64_t timer)
{
	return call(vm, HCALL_TIMER_EXPIRED, timer, 0, 0, 0);
}

static int64_t next(void)
{
	return call(vm, HCALL_EVENT_NEXT, 0, 0, 0, 0);
}

/* The next event, which comes within so many ms; else -HCALL_EAGAIN. */
static int64_t next_within(uint64_t ms)
{
	uint64_t end = now_ns() + ms * MS;
	int64_t n;

	for (;;) {
		n = next();
		if (n != -HCALL_EAGAIN || now_ns() >= end)
			return n;
		n = call(vm, HCALL_EVENT_WAIT, end, HCALL_WAIT_DEADLINE, 0, 0);
		CHECK(!n || n == -HCALL_EINTR);
	}
}

static void op_set(struct hcall_op *op, uint32_t nr, uint64_t a, uint64_t b,
		   uint64_t c, uint64_t d)
{
	memset(op, 0, sizeof(*op));
	op->number = nr;
	op->args[0] = a;
	op->args[1] = b;
	op->args[2] = c;
	op->args[3] = d;
	op->result = 0x7777;
}

/* As the only element of a batch; @flags of BATCH. */
static int64_t by_batch(uint64_t flags, uint32_t nr, uint64_t a, uint64_t b,
			uint64_t c, uint64_t d)
{
	volatile struct hcall_op *op = at(vm, SHARED);

	op_set((struct hcall_op *)op, nr, a, b, c, d);
	CHECK_EQ(call(vm, HCALL_SYS_BATCH, SHARED, 1, flags, flags ? 1023 : 0),
		 1);
	for (int i = 0; i < 5000 && !(op->flags & HCALL_OP_DONE); i++)
		usleep(1000);
	CHECK_EQ(op->flags, HCALL_OP_DONE);
	return op->result;
}

/* ---- What time it is ------------------------------------------------------------ */

static void clocks(void)
{
	setup();
	CHECK_EQ(call(vm, HCALL_SYS_PROBE, HCALL_CLASS_TIMER, 0, 0, 0), 0xf);
	for (int i = 0; i < 1000; i++) {
		int64_t before = clock_ns(i % 3), t = now(i % 3);

		CHECK(t >= before);
		CHECK(t <= (int64_t)clock_ns(i % 3));
	}
	CHECK_EQ(now(3), -HCALL_EINVAL);
	CHECK_EQ(now(-1), -HCALL_EINVAL);
	CHECK_EQ(now(1ull << 32), -HCALL_EINVAL);
	/* Between two vCPUs, in turn, it never goes back. */
	for (int64_t i = 0, last = 0; i < 1000; i++) {
		int64_t t;

		call_set(&vm->vcpu[i % 4], HCALL_TIMER_NOW, 0, 0, 0, 0);
		t = call_run(&vm->vcpu[i % 4]);
		CHECK(t >= last);
		last = t;
	}
	teardown();
}

/* TAI is ahead of UTC by what the launcher's host knows of it. */
static void tai(void)
{
	struct timex old = { .modes = 0 }, set = { .modes = ADJ_TAI };
	int64_t before, t;

	setup();
	NEED(adjtimex(&old) >= 0);
	set.constant = 37;
	NEED(adjtimex(&set) >= 0);
	before = now(REAL);
	t = now(TAI);
	CHECK(t >= before + 37 * (int64_t)SECOND);
	CHECK(t <= now(REAL) + 37 * (int64_t)SECOND);
	CHECK_EQ(arm(3, now(REAL) + 37 * SECOND + 20 * MS, 0, TAI), 0);
	CHECK_EQ(next_within(5000), 3);
	set.constant = old.tai;
	NEED(adjtimex(&set) >= 0);
	teardown();
}

/* In 32-bit mode a batch carries what registers do not. */
static void doors(void)
{
	static const uint64_t flags[] = { 0, HCALL_BATCH_ASYNC };

	setup();
	for (int mode = MODE_64; mode <= MODE_32; mode++) {
		vcpu_mode(&vm->vcpu[0], mode);
		for (int i = 0; i < 2; i++) {
			int64_t before = now_ns(), t;

			t = by_batch(flags[i], HCALL_TIMER_NOW, MONO, 0, 0, 0);
			CHECK(t >= before && t <= (int64_t)now_ns());
			CHECK_EQ(
				by_batch(flags[i], HCALL_TIMER_NOW, 7, 0, 0, 0),
				-HCALL_EINVAL);
			if (i)
				CHECK_EQ(next(), 1023);
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_ARM, 9,
					  now_ns() + 50 * MS, 0, MONO),
				 0);
			if (i)
				CHECK_EQ(next(), 1023);
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_EXPIRED, 9, 0,
					  0, 0),
				 0);
			if (i)
				CHECK_EQ(next(), 1023);
			for (int k = 0; next() != 9; k++) {
				CHECK(k < 5000);
				usleep(1000);
			}
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_EXPIRED, 9, 0,
					  0, 0),
				 1);
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_CANCEL, 9, 0, 0,
					  0),
				 0);
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_ARM, 9, NEVER,
					  0, MONO),
				 0);
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_CANCEL, 9, 0, 0,
					  0),
				 1);
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_ARM, 9,
					  NEVER + 1, 0, MONO),
				 -HCALL_EINVAL);
			CHECK_EQ(by_batch(flags[i], HCALL_TIMER_CANCEL,
					  1ull << 32 | 9, 0, 0, 0),
				 -HCALL_EINVAL);
			if (i)
				CHECK_EQ(next(), 1023);
			CHECK_EQ(next(), -HCALL_EAGAIN);
		}
		/* A deadline of 32 bits is past. */
		CHECK_EQ(arm(8, 1, 0, MONO), 0);
		for (int k = 0; next() != 8; k++) {
			CHECK(k < 5000);
			usleep(1000);
		}
		CHECK_EQ(cancel(8), 0);
		CHECK_EQ(expired(8), 1);
	}
	/* Where there are no calls. */
	vcpu_mode(&vm->vcpu[0], MODE_64_USER);
	CHECK_EQ(now(MONO), -HCALL_EPERM);
	CHECK_EQ(arm(0, 1, 0, MONO), -HCALL_EPERM);
	vcpu_mode(&vm->vcpu[0], MODE_64);
	CHECK_EQ(vm_policy(vm, HCALL_CLASS_TIMER, KVM_HCALL_DENY, 0), 0);
	CHECK_EQ(now(MONO), -HCALL_EPERM);
	CHECK_EQ(arm(0, 1, 0, MONO), -HCALL_EPERM);
	CHECK_EQ(cancel(0), -HCALL_EPERM);
	CHECK_EQ(expired(0), -HCALL_EPERM);
	usleep(10000);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	close(vm->hcall);
	vm->hcall = -1;
	CHECK_EQ(now(MONO), -HCALL_ENOSYS);
	CHECK_EQ(arm(0, 1, 0, MONO), -HCALL_ENOSYS);
	CHECK_EQ(cancel(0), -HCALL_ENOSYS);
	CHECK_EQ(expired(0), -HCALL_ENOSYS);
	teardown();
}

/* A mistake leaves the timer as it was. */
static void errors(void)
{
	static const struct {
		uint64_t timer, deadline, period, clock;
	} wrong[] = {
		{ 64, 1, 0, MONO },
		{ -1ull, 1, 0, MONO },
		{ 1ull << 32, 1, 0, MONO },
		{ 0, NEVER + 1, 0, MONO },
		{ 0, -1ull, 0, MONO },
		{ 0, 1, 1, MONO },
		{ 0, 1, HCALL_TIMER_MIN_PERIOD - 1, MONO },
		{ 0, 1, NEVER + 1, MONO },
		{ 0, 1, -1ull, MONO },
		{ 0, 1, 0, 3 },
		{ 0, 1, 0, -1ull },
		{ 0, 1, 0, 1ull << 32 },
	};

	setup();
	for (int armed = 0; armed < 2; armed++) {
		for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]);
		     i++) {
			int64_t ret;

			if (armed)
				CHECK_EQ(arm(0, NEVER, 0, REAL), 0);
			ret = arm(wrong[i].timer, wrong[i].deadline,
				  wrong[i].period, wrong[i].clock);
			if (ret != -HCALL_EINVAL)
				printf("# arm %u\n", i);
			CHECK_EQ(ret, -HCALL_EINVAL);
			CHECK_EQ(next(), -HCALL_EAGAIN);
			CHECK_EQ(cancel(0), armed);
			CHECK_EQ(expired(0), 0);
		}
	}
	CHECK_EQ(cancel(64), -HCALL_EINVAL);
	CHECK_EQ(cancel(-1), -HCALL_EINVAL);
	CHECK_EQ(expired(64), -HCALL_EINVAL);
	CHECK_EQ(expired(1ull << 63), -HCALL_EINVAL);
	/* Registers that a call does not use do not matter. */
	CHECK(call(vm, HCALL_TIMER_NOW, 0, -1, -2, -3) > 0);
	CHECK_EQ(call(vm, HCALL_TIMER_CANCEL, 0, -1, -2, -3), 0);
	CHECK_EQ(call(vm, HCALL_TIMER_EXPIRED, 0, -1, -2, -3), 0);
	/* A billion a second is refused, so is a guest that insists. */
	for (int i = 0; i < 100; i++)
		CHECK_EQ(arm(i % 64, now_ns(), 1, MONO), -HCALL_EINVAL);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	teardown();
}

/* ---- Deadlines -------------------------------------------------------------------- */

static void past(void)
{
	uint64_t deadlines[] = { 0, 1, now_ns(), SECOND }, start, count;

	setup();
	for (int clock = 0; clock < 3; clock++) {
		for (int i = 0; i < 4; i++) {
			CHECK_EQ(arm(5, deadlines[i], 0, clock), 0);
			CHECK_EQ(next_within(1000), 5);
			CHECK_EQ(expired(5), 1);
			CHECK_EQ(expired(5), 0);
			CHECK_EQ(cancel(5), 0);
			CHECK_EQ(next(), -HCALL_EAGAIN);
		}
		/* With a period: all that have passed, at once, and in phase. */
		start = clock_ns(clock);
		CHECK_EQ(arm(5, start - SECOND, SECOND / 10, clock), 0);
		CHECK_EQ(next_within(1000), 5);
		count = expired(5);
		CHECK(count >= 11);
		CHECK(count <= 11 + (clock_ns(clock) - start) / (SECOND / 10));
		CHECK_EQ(cancel(5), 1);
		next();
	}
	teardown();
}

static void never(void)
{
	setup();
	for (int clock = 0; clock < 3; clock++) {
		CHECK_EQ(arm(63, NEVER, 0, clock), 0);
		CHECK_EQ(arm(62, NEVER - 1, NEVER, clock), 0);
		CHECK_EQ(
			arm(61, clock_ns(clock) + 3600 * SECOND, SECOND, clock),
			0);
		/* Fires once, and then as good as never. */
		CHECK_EQ(arm(60, 1, NEVER, clock), 0);
		CHECK_EQ(next_within(1000), 60);
		CHECK_EQ(next_within(50), -HCALL_EAGAIN);
		CHECK_EQ(expired(60), 1);
		for (int i = 60; i < 64; i++) {
			CHECK_EQ(expired(i), 0);
			CHECK_EQ(cancel(i), 1);
			CHECK_EQ(cancel(i), 0);
		}
	}
	teardown();
}

/* What it was armed for before is forgotten. */
static void rearm(void)
{
	uint64_t t;

	setup();
	CHECK_EQ(arm(1, now_ns() + 100 * MS, 0, MONO), 0);
	t = now_ns() + 300 * MS;
	CHECK_EQ(arm(1, t, 0, MONO), 0);
	CHECK_EQ(next_within(5000), 1);
	CHECK(now_ns() >= t);
	CHECK_EQ(next_within(100), -HCALL_EAGAIN);
	/* From one clock to another, from periodic to once. */
	for (int i = 0; i < 30; i++) {
		int clock = i % 3;

		CHECK_EQ(arm(1, 1, HCALL_TIMER_MIN_PERIOD, (clock + 1) % 3), 0);
		CHECK_EQ(next_within(1000), 1);
		/* Long enough for a slow host to see the last of the periods before it. */
		CHECK_EQ(arm(1, clock_ns(clock) + 100 * MS, 0, clock), 0);
		while (next() == 1)
			;
		t = now_ns() + 10 * MS;
		CHECK_EQ(next_within(1000), 1);
		CHECK(now_ns() + 10 * MS >= t);
		CHECK_EQ(expired(1), 1);
		CHECK_EQ(cancel(1), 0);
		CHECK_EQ(next(), -HCALL_EAGAIN);
	}
	/* Masked, it counts; unmasked, it fires. */
	CHECK_EQ(call(vm, HCALL_EVENT_MASK, 1, 1, 0, 0), 0);
	CHECK_EQ(arm(1, 1, 0, MONO), 0);
	CHECK_EQ(next_within(50), -HCALL_EAGAIN);
	CHECK_EQ(expired(1), 1);
	CHECK_EQ(call(vm, HCALL_EVENT_MASK, 1, 0, 0, 0), 1);
	CHECK_EQ(next_within(1000), 1);
	teardown();
}

/* All of them, on all clocks, for several vCPUs. */
static void all(void)
{
	uint64_t deadline[HCALL_TIMERS];
	uint64_t seen = 0, start;

	setup();
	for (int i = 0; i < (int)HCALL_TIMERS; i++)
		CHECK_EQ(call(vm, HCALL_EVENT_ROUTE, i, i % 4, 0, 0), 0);
	start = now_ns() + 100 * MS;
	for (int i = 0; i < (int)HCALL_TIMERS; i++) {
		deadline[i] = clock_ns(i % 3) + 100 * MS + i * 37 % 64 * MS;
		CHECK_EQ(arm(i, deadline[i], 0, i % 3), 0);
	}
	while (seen != -1ull) {
		CHECK(now_ns() < start + 10 * SECOND);
		for (int v = 0; v < MAX_VCPUS; v++) {
			int64_t n;

			call_set(&vm->vcpu[v], HCALL_EVENT_NEXT, 0, 0, 0, 0);
			n = call_run(&vm->vcpu[v]);
			if (n == -HCALL_EAGAIN)
				continue;
			CHECK(n >= 0 && n < (int)HCALL_TIMERS);
			CHECK_EQ(n % 4, v);
			CHECK(clock_ns(n % 3) >= deadline[n]);
			CHECK(!(seen >> n & 1));
			CHECK_EQ(expired(n), 1);
			seen |= 1ull << n;
		}
	}
	for (int i = 0; i < (int)HCALL_TIMERS; i++) {
		CHECK_EQ(cancel(i), 0);
		CHECK_EQ(expired(i), 0);
	}
	teardown();
}

/*
 * A program arms eight timers at a time, at random deadlines within 5 ms, and
 * looks at the clock when it hears of one.
 */
#define SHOTS 1000
#define GROUP 8

struct shots {
	uint64_t random;
	uint64_t clock;
	int64_t late[SHOTS];
	uint64_t deadline[GROUP];
	uint64_t line;
};

static GUEST int64_t shots_run(uint64_t arg)
{
	struct shots *s = (struct shots *)(uintptr_t)arg;

	for (int shot = 0; shot < SHOTS; shot += GROUP) {
		int left = GROUP;

		for (int i = 0; i < GROUP; i++) {
			s->random ^= s->random << 13;
			s->random ^= s->random >> 7;
			s->random ^= s->random << 17;
			s->deadline[i] =
				guest_call(HCALL_TIMER_NOW, s->clock, 0, 0, 0) +
				(s->random >> 20) % 5000000;
			if (guest_call(HCALL_TIMER_ARM, i, s->deadline[i], 0,
				       s->clock))
				return -1;
		}
		while (left) {
			int64_t n = guest_call(HCALL_EVENT_NEXT, 0, 0, 0, 0), t;

			if (n == -HCALL_EAGAIN) {
				guest_call(HCALL_EVENT_WAIT, 0, 0, 0, 0);
				continue;
			}
			t = guest_call(HCALL_TIMER_NOW, s->clock, 0, 0, 0);
			if (n < 0 || n >= GROUP)
				return -2;
			if (guest_call(HCALL_TIMER_EXPIRED, n, 0, 0, 0) != 1)
				return -3;
			s->late[shot + n] = t - (int64_t)s->deadline[n];
			left--;
		}
	}
	return 0;
}

static void oneshots(void)
{
	static const int64_t bound[] = { 50,   100,  200,   500,    1000,
					 2000, 5000, 10000, 100000, 10000000 };
	static const char *const name[] = { "monotonic", "real time", "TAI" };
	struct shots *s;

	setup();
	s = at(vm, SHARED);
	for (int clock = 0; clock < 3; clock++) {
		int count[10] = { 0 }, early = 0;

		s->random = 0x9e3779b97f4a7c15u + clock;
		s->clock = clock;
		guest_start(&vm->vcpu[0], shots_run, SHARED, false);
		CHECK(call_ended(&vm->vcpu[0], 60000));
		CHECK_EQ(vm->vcpu[0].result, 0);
		for (int i = 0; i < SHOTS; i++) {
			early += s->late[i] < 0;
			for (int k = 0; k < 10; k++) {
				if (s->late[i] >= bound[k] * 1000)
					continue;
				count[k]++;
				break;
			}
		}
		printf("# %d one-shots, %s: %d early; late by less than\n",
		       SHOTS, name[clock], early);
		for (int k = 0; k < 10; k++)
			printf("# %8ld us: %d\n", bound[k], count[k]);
		CHECK_EQ(early, 0);
	}
	teardown();
}

/* ---- Periods ------------------------------------------------------------------------- */

struct periodic {
	uint64_t timer;
	uint64_t clock;
	uint64_t period;
	uint64_t length; /* ns */
	uint64_t first;
	uint64_t sum;
	uint64_t most; /* in one answer of EXPIRED */
	uint64_t events;
	volatile uint64_t running;
};

/* Count until the time is up, then until the count and the clock agree. */
static GUEST int64_t periodic_run(uint64_t arg)
{
	struct periodic *p = (struct periodic *)(uintptr_t)arg;
	uint64_t t = guest_call(HCALL_TIMER_NOW, p->clock, 0, 0, 0), after;

	p->first = t + p->period;
	p->sum = p->most = p->events = 0;
	if (guest_call(HCALL_TIMER_ARM, p->timer, p->first, p->period,
		       p->clock))
		return -1;
	p->running = 1;
	for (;;) {
		int64_t n = guest_call(HCALL_EVENT_NEXT, 0, 0, 0, 0);

		if (n == -HCALL_EAGAIN) {
			guest_call(HCALL_EVENT_WAIT, 0, 0, 0, 0);
			continue;
		}
		if (n != (int64_t)p->timer)
			return -2;
		p->events++;
		t = guest_call(HCALL_TIMER_NOW, p->clock, 0, 0, 0);
		n = guest_call(HCALL_TIMER_EXPIRED, p->timer, 0, 0, 0);
		after = guest_call(HCALL_TIMER_NOW, p->clock, 0, 0, 0);
		if (n < 0)
			return -3;
		p->sum += n;
		if ((uint64_t)n > p->most)
			p->most = n;
		/* Never more than have passed, */
		if (after < p->first ||
		    p->sum > (after - p->first) / p->period + 1)
			return -4;
		if (t - p->first < p->length)
			continue;
		/* nor, if nothing happened just now, fewer. */
		if (p->sum == (t - p->first) / p->period + 1)
			break;
		if (t - p->first > p->length + 5000 * p->period)
			return -5;
	}
	if (guest_call(HCALL_TIMER_CANCEL, p->timer, 0, 0, 0) != 1)
		return -6;
	return 0;
}

static void periodic(void)
{
	uint64_t length = setting("PERIODIC_SECONDS", 10) * SECOND;
	struct periodic *p;

	setup();
	p = at(vm, SHARED);
	for (int clock = 0; clock < 3; clock++) {
		*p = (struct periodic){ .timer = 11 + clock,
					.clock = clock,
					.period = MS,
					.length = clock ? SECOND : length };
		guest_start(&vm->vcpu[0], periodic_run, SHARED, false);
		CHECK(call_ended(&vm->vcpu[0], p->length / MS + 20000));
		printf("# 1 kHz: %lu periods, %lu events, %lu at most in one\n",
		       p->sum, p->events, p->most);
		CHECK_EQ(vm->vcpu[0].result, 0);
		CHECK(p->sum >= p->length / MS);
		/* More may have ended before CANCEL. */
		CHECK(expired(11 + clock) >= 0);
		usleep(20000);
		CHECK_EQ(expired(11 + clock), 0);
		while (next() >= 0)
			;
	}
	teardown();
}

/* The shortest period there is, 64 times, and the host lives on. */
static void fastest(void)
{
	uint64_t start, sum = 0, end;

	setup();
	start = now_ns();
	for (int i = 0; i < (int)HCALL_TIMERS; i++)
		CHECK_EQ(arm(i, start, HCALL_TIMER_MIN_PERIOD, i % 3), 0);
	start = now_ns();
	for (int i = 0; i < (int)HCALL_TIMERS; i++)
		expired(i);
	while (now_ns() - start < SECOND) {
		int64_t n = next();

		if (n >= 0)
			sum += expired(n);
	}
	for (int i = 0; i < (int)HCALL_TIMERS; i++) {
		CHECK_EQ(cancel(i), 1);
		sum += expired(i);
	}
	end = now_ns() - start;
	printf("# %lu periods in %lu ms\n", sum, end / MS);
	/* One that was not looked at for long counts 16 periods at once. */
	CHECK(sum <= (end / HCALL_TIMER_MIN_PERIOD + 1 + 16) * HCALL_TIMERS);
	CHECK(sum > 0);
	while (next() >= 0)
		;
	usleep(10000);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	teardown();
}

/* The launcher is stopped for a while: it is told how much it has missed. */
static void stopped(void)
{
	uint64_t most = 0, length = 2 * SECOND;
	int tell[2], status;
	uint64_t start;
	pid_t pid;
	char c;

	NEED(!pipe(tell));
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		struct periodic *p;

		setup();
		p = at(vm, SHARED);
		*p = (struct periodic){ .timer = 20,
					.period = MS,
					.length = length };
		guest_start(&vm->vcpu[0], periodic_run, SHARED, false);
		while (!p->running)
			usleep(1000);
		if (write(tell[1], "r", 1) != 1)
			_exit(2);
		if (!call_ended(&vm->vcpu[0], 20000))
			_exit(3);
		printf("# %lu periods, %lu events, %lu at most in one\n",
		       p->sum, p->events, p->most);
		if (vm->vcpu[0].result) {
			printf("# program: %ld\n", vm->vcpu[0].result);
			_exit(4);
		}
		if (write(tell[1], &p->most, 8) != 8)
			_exit(5);
		/* Skipped ones make no events of their own. */
		_exit(p->events + p->most - 1 > p->sum ? 6 : 0);
	}
	close(tell[1]);
	NEED(read(tell[0], &c, 1) == 1);
	usleep(300000);
	start = now_ns();
	NEED(!kill(pid, SIGSTOP));
	sleep(1);
	NEED(!kill(pid, SIGCONT));
	NEED(waitpid(pid, &status, 0) == pid);
	NEED(now_ns() - start >= SECOND);
	CHECK_EQ(status, 0);
	NEED(read(tell[0], &most, 8) == 8);
	close(tell[0]);
	/* A stop takes a moment to come about. */
	CHECK(most >= 900);
}

/* ---- Against each other --------------------------------------------------------------- */

/* What CANCEL says is true: it was armed and will not fire, or it has fired. */
struct cancels {
	uint64_t random;
	uint64_t rounds;
	uint64_t fired, cancelled;
};

static GUEST int64_t cancels_run(uint64_t arg)
{
	struct cancels *c = (struct cancels *)(uintptr_t)arg;

	for (uint64_t i = 0; i < c->rounds; i++) {
		uint64_t t = guest_call(HCALL_TIMER_NOW, MONO, 0, 0, 0);
		uint64_t spin;
		int64_t was, n;

		c->random ^= c->random << 13;
		c->random ^= c->random >> 7;
		c->random ^= c->random << 17;
		if (guest_call(HCALL_TIMER_ARM, 2,
			       t + (c->random >> 16) % 200000, 0, MONO))
			return -1;
		for (spin = (c->random >> 40) % 2000; spin; spin--)
			__asm__ __volatile__("pause");
		was = guest_call(HCALL_TIMER_CANCEL, 2, 0, 0, 0);
		n = guest_call(HCALL_EVENT_NEXT, 0, 0, 0, 0);
		if (was == 1) {
			c->cancelled++;
			if (n != -HCALL_EAGAIN)
				return -2;
		} else if (was == 0) {
			c->fired++;
			if (n != 2)
				return -3;
		} else {
			return -4;
		}
		if (guest_call(HCALL_TIMER_EXPIRED, 2, 0, 0, 0) != !was)
			return -5;
		if (guest_call(HCALL_TIMER_CANCEL, 2, 0, 0, 0))
			return -6;
	}
	return 0;
}

static void cancel_fires(void)
{
	struct cancels *c;

	setup();
	c = at(vm, SHARED);
	*c = (struct cancels){ .random = 0x9e3779b97f4a7c15u, .rounds = 5000 };
	guest_start(&vm->vcpu[0], cancels_run, SHARED, false);
	CHECK(call_ended(&vm->vcpu[0], 60000));
	printf("# %lu fired, %lu did not\n", c->fired, c->cancelled);
	CHECK_EQ(vm->vcpu[0].result, 0);
	CHECK(c->fired > 0);
	CHECK(c->cancelled > 0);
	teardown();
}

/* All vCPUs at a few timers at once. */
struct race {
	volatile uint64_t stop;
	uint64_t calls[MAX_VCPUS];
};

static GUEST int64_t race_run(uint64_t self)
{
	struct race *r = (struct race *)(uintptr_t)SHARED;
	uint64_t random = 0x9e3779b97f4a7c15u * (self + 1);

	while (!r->stop) {
		uint64_t timer, clock, t, period;
		int64_t ret;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		timer = random >> 10 & 3;
		clock = (random >> 14) % 3;
		period = random & 1 << 20
				 ? HCALL_TIMER_MIN_PERIOD + (random >> 40) % MS
				 : 0;
		switch (random >> 30 & 7) {
		case 0:
		case 1:
		case 2:
			t = guest_call(HCALL_TIMER_NOW, clock, 0, 0, 0);
			ret = guest_call(HCALL_TIMER_ARM, timer,
					 t + (random >> 24) % 300000, period,
					 clock);
			if (ret)
				return ret;
			break;
		case 3:
		case 4:
			ret = guest_call(HCALL_TIMER_CANCEL, timer, 0, 0, 0);
			if (ret != 0 && ret != 1)
				return -2;
			break;
		case 5:
			ret = guest_call(HCALL_TIMER_EXPIRED, timer, 0, 0, 0);
			if (ret < 0)
				return -3;
			break;
		default:
			ret = guest_call(HCALL_EVENT_NEXT, 0, 0, 0, 0);
			if (ret > 3 || (ret < 0 && ret != -HCALL_EAGAIN))
				return -4;
		}
		r->calls[self]++;
	}
	return 0;
}

static void races(void)
{
	struct race *r;

	setup();
	r = at(vm, SHARED);
	for (int n = 2; n <= MAX_VCPUS; n += 2) {
		memset(r, 0, sizeof(*r));
		for (int i = 0; i < n; i++)
			guest_start(&vm->vcpu[i], race_run, i, false);
		sleep(2);
		r->stop = 1;
		for (int i = 0; i < n; i++) {
			CHECK(call_ended(&vm->vcpu[i], 5000));
			CHECK_EQ(vm->vcpu[i].result, 0);
			CHECK(r->calls[i] > 100);
		}
		for (int i = 0; i < 4; i++)
			CHECK(cancel(i) >= 0);
		while (next() >= 0)
			;
		for (int i = 0; i < 4; i++)
			expired(i);
		/* Now it is quiet, */
		usleep(50000);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		for (int i = 0; i < 4; i++) {
			uint64_t t = now_ns() + 5 * MS;

			CHECK_EQ(cancel(i), 0);
			CHECK_EQ(expired(i), 0);
			/* and the timers are good for another time. */
			CHECK_EQ(arm(i, t, 0, MONO), 0);
			CHECK_EQ(next_within(5000), i);
			CHECK(now_ns() >= t);
		}
	}
	teardown();
}

/* The instance goes, or all of the process, while everything fires. */
static void closes(void)
{
	for (int i = 0; i < 40; i++) {
		pid_t pid = fork();

		NEED(pid >= 0);
		if (pid) {
			NEED(waitpid(pid, NULL, 0) == pid);
			continue;
		}
		setup();
		if (i & 1)
			call(vm, HCALL_EVENT_PAGE, RAM, 0, 0, 0);
		for (int k = 0; k < (int)HCALL_TIMERS; k++)
			arm(k, 1, HCALL_TIMER_MIN_PERIOD + k * 1000, k % 3);
		call_start(&vm->vcpu[1], HCALL_EVENT_WAIT, 0, 0, 0, 0);
		usleep(i * 500);
		if (i & 2)
			close(vm->hcall);
		if (i & 4)
			usleep(1000);
		_exit(0);
	}
	/* A new instance for the same VM knows nothing of them. */
	setup();
	CHECK_EQ(arm(0, now_ns() + 50 * MS, MS, MONO), 0);
	CHECK_EQ(arm(1, 1, 0, MONO), 0);
	close(vm->hcall);
	vm_bind(vm);
	CHECK_EQ(next_within(200), -HCALL_EAGAIN);
	CHECK_EQ(cancel(0), 0);
	CHECK_EQ(expired(1), 0);
	teardown();
}

/* ---- The host's clock is set --------------------------------------------------------------- */

static void set_clock(int64_t by)
{
	struct timespec ts;

	NEED(!clock_gettime(CLOCK_REALTIME, &ts));
	ts.tv_sec += by;
	NEED(!clock_settime(CLOCK_REALTIME, &ts));
}

static void clock_is_set(void)
{
	int64_t one, two, three;

	setup();
	CHECK_EQ(arm(0, clock_ns(REAL) + 1000 * SECOND, 0, REAL), 0);
	CHECK_EQ(arm(1, clock_ns(TAI) + 1000 * SECOND, 0, TAI), 0);
	CHECK_EQ(arm(2, clock_ns(MONO) + 1000 * SECOND, 0, MONO), 0);
	CHECK_EQ(next_within(100), -HCALL_EAGAIN);
	set_clock(1001);
	one = next_within(1000);
	two = next_within(1000);
	three = next_within(100);
	set_clock(-1001);
	CHECK_EQ(one, 0);
	CHECK_EQ(two, 1);
	CHECK_EQ(three, -HCALL_EAGAIN);
	CHECK_EQ(cancel(2), 1);
	/* Backwards: a deadline goes further away. */
	CHECK_EQ(arm(0, clock_ns(REAL) + 300 * MS, 0, REAL), 0);
	set_clock(-1000);
	one = next_within(600);
	set_clock(1000);
	two = next_within(1000);
	CHECK_EQ(one, -HCALL_EAGAIN);
	CHECK_EQ(two, 0);
	teardown();
}

static const struct test tests[] = {
	{ "timer.clocks", clocks },
	{ "timer.tai", tai },
	{ "timer.doors", doors },
	{ "timer.errors", errors },
	{ "timer.past", past },
	{ "timer.never", never },
	{ "timer.rearm", rearm },
	{ "timer.all", all },
	{ "timer.oneshots", oneshots },
	{ "timer.periodic", periodic },
	{ "timer.fastest", fastest },
	{ "timer.stopped", stopped },
	{ "timer.cancel_fires", cancel_fires },
	{ "timer.races", races },
	{ "timer.closes", closes },
	{ "timer.clock_is_set", clock_is_set },
};

KTAP_MAIN(tests)
