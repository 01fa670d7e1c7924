// SPDX-License-Identifier: GPL-2.0
/*
 * Class 3, timer: what time it is, and 64 timers, each with a channel.
 */
#include <linux/cleanup.h>
#include <linux/hrtimer.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "internal.h"
#include "trace.h"

/*
 * Nobody pays for the interrupts of a timer.  So one whose events the guest has
 * not looked at for some time expires more rarely, until it does.
 */
#define UNSEEN_MAX 16 /* events in a row */
#define UNSEEN_PERIODS 16 /* then as many at once */

/**
 * struct hcall_timer - a timer
 * @hrtimer: of @clock
 * @vm:      whose
 * @channel: fires
 * @clock:   CLOCK_*, what @hrtimer is set up for
 * @period:  0: once
 * @unseen:  events in a row that the guest did not look at before the next
 * @skipped: periods that end at the next expiry, besides one
 * @expired: periods that have ended since the guest last asked
 */
struct hcall_timer {
	struct hrtimer hrtimer;
	struct hcall_vm *vm;
	u32 channel;
	clockid_t clock;
	ktime_t period;
	u32 unseen;
	u32 skipped;
	atomic64_t expired;
};

/* A timer that fell behind skips what it missed, and keeps its phase. */
static enum hrtimer_restart timer_expires(struct hrtimer *hrtimer)
{
	struct hcall_timer *timer =
		container_of(hrtimer, struct hcall_timer, hrtimer);
	ktime_t due = hrtimer_get_expires(hrtimer);
	u64 periods = 1;

	if (timer->period)
		periods = hrtimer_forward_now(hrtimer, timer->period);
	/* The clock has been set back, or another CPU's is a little behind. */
	if (!periods)
		return HRTIMER_RESTART;
	periods += timer->skipped;
	if (trace_hcall_timer_enabled())
		trace_hcall_timer(timer->vm, timer->channel, periods,
				  hrtimer_cb_get_time(hrtimer) - due);
	atomic64_add(periods, &timer->expired);
	timer->unseen = hcall_fire(timer->vm, timer->channel) ? 0 :
			min(timer->unseen + 1, UNSEEN_MAX);
	if (!timer->period)
		return HRTIMER_NORESTART;
	/* Long periods cost nothing, and so many of them may be no time at all. */
	timer->skipped = timer->unseen < UNSEEN_MAX ||
			 timer->period > KTIME_MAX / UNSEEN_PERIODS ?
			 0 : UNSEEN_PERIODS - 1;
	hrtimer_add_expires(hrtimer, timer->skipped * timer->period);
	return HRTIMER_RESTART;
}

int hcall_timers_init(struct hcall_vm *vm)
{
	u32 i;

	mutex_init(&vm->timer_lock);
	vm->timers = kvcalloc(HCALL_TIMERS, sizeof(*vm->timers),
			      GFP_KERNEL_ACCOUNT);
	if (!vm->timers)
		return -ENOMEM;
	for (i = 0; i < HCALL_TIMERS; i++) {
		struct hcall_timer *timer = &vm->timers[i];

		timer->vm = vm;
		timer->channel = HCALL_CHANNEL_TIMER + i;
		timer->clock = CLOCK_MONOTONIC;
		hrtimer_setup(&timer->hrtimer, timer_expires, timer->clock,
			      HRTIMER_MODE_ABS);
	}
	return 0;
}

void hcall_timers_free(struct hcall_vm *vm)
{
	u32 i;

	for (i = 0; i < HCALL_TIMERS; i++)
		hrtimer_cancel(&vm->timers[i].hrtimer);
	kvfree(vm->timers);
	mutex_destroy(&vm->timer_lock);
}

/* Return: the timer that a guest's number means, or NULL. */
static struct hcall_timer *timer_of(const struct hcall_call *call)
{
	u64 i = call->args[0];

	if (i >= HCALL_TIMERS)
		return NULL;
	return &call->vm->timers[array_index_nospec(i, HCALL_TIMERS)];
}

static s64 timer_now(struct hcall_call *call)
{
	switch (call->args[0]) {
	case HCALL_CLOCK_MONOTONIC:
		return ktime_get();
	case HCALL_CLOCK_REALTIME:
		return ktime_get_real();
	case HCALL_CLOCK_TAI:
		return ktime_get_clocktai();
	default:
		return -HCALL_EINVAL;
	}
}

static s64 timer_arm(struct hcall_call *call)
{
	static const clockid_t clocks[] = {
		[HCALL_CLOCK_MONOTONIC] = CLOCK_MONOTONIC,
		[HCALL_CLOCK_REALTIME] = CLOCK_REALTIME,
		[HCALL_CLOCK_TAI] = CLOCK_TAI,
	};
	u64 deadline = call->args[1], period = call->args[2];
	struct hcall_timer *timer = timer_of(call);
	u64 clock = call->args[3];

	if (!timer || deadline > KTIME_MAX || period > KTIME_MAX ||
	    (period && period < HCALL_TIMER_MIN_PERIOD) ||
	    clock >= ARRAY_SIZE(clocks))
		return -HCALL_EINVAL;
	clock = clocks[array_index_nospec(clock, ARRAY_SIZE(clocks))];

	guard(mutex)(&call->vm->timer_lock);
	hrtimer_cancel(&timer->hrtimer);
	if (timer->clock != clock) {
		hrtimer_setup(&timer->hrtimer, timer_expires, clock,
			      HRTIMER_MODE_ABS);
		timer->clock = clock;
	}
	timer->period = period;
	timer->unseen = 0;
	timer->skipped = 0;
	atomic64_set(&timer->expired, 0);
	hrtimer_start(&timer->hrtimer, deadline, HRTIMER_MODE_ABS);
	return 0;
}

static s64 timer_cancel(struct hcall_call *call)
{
	struct hcall_timer *timer = timer_of(call);

	if (!timer)
		return -HCALL_EINVAL;
	guard(mutex)(&call->vm->timer_lock);
	return hrtimer_cancel(&timer->hrtimer);
}

static s64 timer_expired(struct hcall_call *call)
{
	struct hcall_timer *timer = timer_of(call);

	if (!timer)
		return -HCALL_EINVAL;
	return atomic64_xchg(&timer->expired, 0);
}

const struct hcall_service hcall_timer = {
	.class_id = HCALL_CLASS_TIMER,
	.index = HCALL_INDEX_TIMER,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_TIMER_NOW)] = timer_now,
		[HCALL_NR_FUNCTION(HCALL_TIMER_ARM)] = timer_arm,
		[HCALL_NR_FUNCTION(HCALL_TIMER_CANCEL)] = timer_cancel,
		[HCALL_NR_FUNCTION(HCALL_TIMER_EXPIRED)] = timer_expired,
	},
	.functions = HCALL_FN_BIT(HCALL_TIMER_NOW) |
		     HCALL_FN_BIT(HCALL_TIMER_ARM) |
		     HCALL_FN_BIT(HCALL_TIMER_CANCEL) |
		     HCALL_FN_BIT(HCALL_TIMER_EXPIRED),
};
