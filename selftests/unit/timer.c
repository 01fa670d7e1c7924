// SPDX-License-Identifier: GPL-2.0
/*
 * Timers (kmod/hcall/timer.c), in a time that jumps from one expiry to the next:
 * 20 years take no longer than a millisecond.  The model counts the periods that
 * have ended.
 */
#include "world.h"

#define TIMER 5
#define MS    1000000ll

static struct hrtimer *hrtimer;
static bool seen; /* has the guest taken the news before the next? */
static u32 fired;

bool hcall_fire(struct hcall_vm *of, u32 channel)
{
	CHECK(of == &vm);
	CHECK_EQ(channel, HCALL_CHANNEL_TIMER + TIMER);
	fired++;
	return seen;
}

static s64 call(u32 nr, u64 a, u64 b, u64 c, u64 d)
{
	struct hcall_call call = { .vm = &vm, .args = { a, b, c, d } };

	return hcall_timer.fn[HCALL_NR_FUNCTION(nr)](&call);
}

static s64 arm(u64 deadline, u64 period)
{
	return call(HCALL_TIMER_ARM, TIMER, deadline, period,
		    HCALL_CLOCK_MONOTONIC);
}

static s64 expired(void)
{
	return call(HCALL_TIMER_EXPIRED, TIMER, 0, 0, 0);
}

static void begin(void)
{
	world_begin();
	NEED(!hcall_timers_init(&vm));
	seen = true;
	fired = 0;
	CHECK_EQ(arm(0, 0), 0);
	hrtimer = shim.hrtimer; /* their struct is timer.c's own */
	CHECK_EQ(call(HCALL_TIMER_CANCEL, TIMER, 0, 0, 0), 1);
}

static void end(void)
{
	hcall_timers_free(&vm);
}

/* Let it expire, @late.  Return: false: it is not armed. */
static bool expire(u64 late)
{
	if (!hrtimer->queued)
		return false;
	if (shim.now < hrtimer->expires)
		shim.now = hrtimer->expires;
	if (__builtin_add_overflow(shim.now, late, &shim.now))
		shim.now = KTIME_MAX;
	hrtimer->queued = false;
	if (hrtimer->function(hrtimer) == HRTIMER_RESTART)
		hrtimer->queued = true;
	return true;
}

static void test_arguments(void)
{
	begin();
	CHECK_EQ(call(HCALL_TIMER_ARM, HCALL_TIMERS, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(HCALL_TIMER_ARM, UINT64_MAX, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(HCALL_TIMER_ARM, 1ull << 32, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(HCALL_TIMER_CANCEL, HCALL_TIMERS, 0, 0, 0),
		 -HCALL_EINVAL);
	CHECK_EQ(call(HCALL_TIMER_EXPIRED, HCALL_TIMERS, 0, 0, 0),
		 -HCALL_EINVAL);
	CHECK_EQ(arm((u64)KTIME_MAX + 1, 0), -HCALL_EINVAL);
	CHECK_EQ(arm(UINT64_MAX, 0), -HCALL_EINVAL);
	CHECK_EQ(arm(0, (u64)KTIME_MAX + 1), -HCALL_EINVAL);
	CHECK_EQ(arm(0, UINT64_MAX), -HCALL_EINVAL);
	CHECK_EQ(arm(0, 1), -HCALL_EINVAL);
	CHECK_EQ(arm(0, HCALL_TIMER_MIN_PERIOD - 1), -HCALL_EINVAL);
	CHECK_EQ(call(HCALL_TIMER_ARM, TIMER, 0, 0, 3), -HCALL_EINVAL);
	CHECK_EQ(call(HCALL_TIMER_ARM, TIMER, 0, 0, 1ull << 32), -HCALL_EINVAL);
	CHECK(!hrtimer->queued);
	for (u64 clock = HCALL_CLOCK_MONOTONIC; clock <= HCALL_CLOCK_TAI;
	     clock++)
		CHECK_EQ(call(HCALL_TIMER_ARM, TIMER, KTIME_MAX, KTIME_MAX,
			      clock),
			 0);
	CHECK_EQ(hrtimer->clock, CLOCK_TAI);
	CHECK_EQ(arm(0, HCALL_TIMER_MIN_PERIOD), 0);
	CHECK_EQ(hrtimer->clock, CLOCK_MONOTONIC);
	CHECK_EQ(call(HCALL_TIMER_CANCEL, TIMER, 0, 0, 0), 1);
	CHECK_EQ(call(HCALL_TIMER_CANCEL, TIMER, 0, 0, 0), 0);
	end();
}

static void test_once(void)
{
	begin();
	CHECK_EQ(arm(100, 0), 0);
	CHECK(expire(0));
	CHECK_EQ(shim.now, 100);
	CHECK_EQ(fired, 1);
	CHECK(!expire(0));
	CHECK_EQ(expired(), 1);
	CHECK_EQ(expired(), 0);
	/* Past: at once, and once. */
	shim.now = 1000 * MS;
	CHECK_EQ(arm(0, 0), 0);
	CHECK(expire(0));
	CHECK(!expire(0));
	CHECK_EQ(expired(), 1);
	CHECK_EQ(arm(KTIME_MAX, 0), 0);
	CHECK(expire(5));
	CHECK_EQ(expired(), 1);
	/* Armed anew it begins anew. */
	CHECK_EQ(arm(0, MS), 0);
	CHECK(expire(0));
	CHECK_EQ(arm(KTIME_MAX, 0), 0);
	CHECK_EQ(expired(), 0);
	end();
}

/*
 * Whatever the guest arms, however late the host is, and whether the guest looks or
 * not: it is told of each period that has ended, once, and the phase stays.
 */
static void check_periods(u64 deadline, u64 period, unsigned int events)
{
	u64 told = 0, ended;
	s64 now = shim.now;

	CHECK_EQ(arm(deadline, period), 0);
	for (unsigned int i = 0; i < events; i++) {
		u64 late = below(3)   ? below(1000)
			   : below(2) ? below(period)
				      : below(40) * period;

		seen = !below(30) || (i / 40 % 2 && below(2));
		CHECK(expire(late & KTIME_MAX));
		CHECK(shim.now >= now);
		now = shim.now;
		told += expired();
		/* The present is at least the deadline: it has expired. */
		ended = (now - deadline) / period + 1;
		CHECK_EQ(told, ended);
		/* In phase, and not before the present: or in no time that there is. */
		CHECK(hrtimer->queued);
		if (hrtimer->expires == KTIME_MAX)
			return;
		CHECK(hrtimer->expires > now);
		CHECK_EQ((hrtimer->expires - deadline) % period, 0);
		CHECK(hrtimer->expires - now <= 16 * (__int128)period);
	}
}

static void one_timer(void)
{
	u64 deadline = edgy() & KTIME_MAX;
	u64 period = below(2) ? edgy() & KTIME_MAX : below(1000 * MS);

	if (period < HCALL_TIMER_MIN_PERIOD)
		period += HCALL_TIMER_MIN_PERIOD;
	shim.now = below(2) ? 0 : edgy() & KTIME_MAX;
	check_periods(deadline, period, 200);
}

static void test_periods(void)
{
	begin();
	for (int i = 0; i < 3000; i++)
		one_timer();
	end();
}

/* Of one that is not looked at 16 periods come at once, and not fewer than all. */
static void test_unseen(void)
{
	u64 told = 0;
	int i;

	begin();
	CHECK_EQ(arm(MS, MS), 0);
	seen = false;
	for (i = 1; i <= 16; i++) {
		CHECK(expire(0));
		CHECK_EQ(shim.now, i * MS);
	}
	CHECK(expire(0));
	CHECK_EQ(shim.now, 32 * MS);
	CHECK_EQ(expired(), 32);
	CHECK(expire(0));
	CHECK_EQ(shim.now, 48 * MS);
	/* It looks: the next event is the last that is late. */
	seen = true;
	CHECK(expire(0));
	CHECK_EQ(shim.now, 64 * MS);
	CHECK(expire(0));
	CHECK_EQ(shim.now, 65 * MS);
	told = expired();
	CHECK_EQ(told, 33);
	end();
}

/* Not even 16 of the longest periods lie before the present. */
static void test_unseen_long(void)
{
	begin();
	for (int i = 0; i < 64; i++) {
		u64 period = (u64)KTIME_MAX >> i;

		if (period < HCALL_TIMER_MIN_PERIOD)
			break;
		shim.now = 0;
		seen = false;
		CHECK_EQ(arm(0, period), 0);
		/* The host's clock is set: as often as it likes, it is due. */
		for (int j = 0; j < 40; j++) {
			hrtimer->queued = false;
			shim.now = hrtimer->expires;
			if (hrtimer->function(hrtimer) == HRTIMER_RESTART)
				hrtimer->queued = true;
			CHECK(hrtimer->expires > shim.now ||
			      shim.now == KTIME_MAX);
		}
	}
	end();
}

/* The clock has been set back: nothing has expired, and it stays armed. */
static void test_set_back(void)
{
	begin();
	CHECK_EQ(arm(100 * MS, MS), 0);
	shim.now = 50 * MS;
	hrtimer->queued = false;
	CHECK_EQ(hrtimer->function(hrtimer), HRTIMER_RESTART);
	CHECK_EQ(hrtimer->expires, 100 * MS);
	CHECK_EQ(fired, 0);
	CHECK_EQ(expired(), 0);
	end();
}

const struct test tests[] = {
	{ "timer.arguments", test_arguments },
	{ "timer.once", test_once },
	{ "timer.periods", test_periods },
	{ "timer.unseen", test_unseen },
	{ "timer.unseen_long", test_unseen_long },
	{ "timer.set_back", test_set_back },
};

const unsigned int nr_tests = ARRAY_SIZE(tests);

void fuzz(void)
{
	begin();
	one_timer();
	end();
}
