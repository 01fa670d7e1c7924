// SPDX-License-Identifier: GPL-2.0
/*
 * Class 6, event: channels that tell the guest that something has happened.
 *
 * A channel is a pending bit and a mask bit.  Whoever has news sets the pending
 * bit (hcall_fire()); if that changes it, and the channel is not masked, the
 * vCPUs that it is for are woken, and its eventfd is signalled, which KVM may
 * turn into an interrupt.  The guest clears the bit and then looks for the
 * news, so none is lost.
 */
#include <linux/bitops.h>
#include <linux/cleanup.h>
#include <linux/eventfd.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "internal.h"
#include "trace.h"

#define WORDS (HCALL_CHANNELS / BITS_PER_LONG)

/* The bits of a little-endian machine are the same in words of any size. */
static unsigned long *pending_of(struct hcall_events *events)
{
	return (unsigned long *)events->bits->pending;
}

static unsigned long *mask_of(struct hcall_events *events)
{
	return (unsigned long *)events->bits->mask;
}

/* The launcher may want to know that the host has written to the page. */
static void events_written(struct hcall_vm *vm)
{
	if (vm->events.page)
		hcall_dirty_outside(vm, vm->events.gpa, sizeof(*vm->events.bits));
}

static void events_deliver(struct hcall_events *events, u32 channel)
{
	struct hcall_route *route;

	lockdep_assert_held(&events->lock);
	if (!events->routes) {
		hcall_wake(&events->sleepers);
		return;
	}
	route = &events->routes[channel];
	if (route->vcpu == HCALL_VCPU_ANY)
		hcall_wake(&events->sleepers);
	else
		hcall_wake_vcpu(&events->sleepers, route->vcpu);
	if (route->eventfd)
		eventfd_signal(route->eventfd);
}

/* What had no effect as long as it was masked, or another vCPU's. */
static void events_deliver_pending(struct hcall_events *events, u32 channel)
{
	if (test_bit(channel, pending_of(events)) &&
	    !test_bit(channel, mask_of(events)))
		events_deliver(events, channel);
}

/**
 * hcall_fire() - tell the guest that there is news
 * @vm:      whose
 * @channel: below HCALL_CHANNELS
 *
 * Context: any; but not inside an eventfd's wake-up, as this may signal one.
 * None of the files behind devices is woken from there.
 * Return: false if the guest has not yet taken the news from before.
 */
bool hcall_fire(struct hcall_vm *vm, u32 channel)
{
	struct hcall_events *events = &vm->events;
	bool news;

	channel = array_index_nospec(channel, HCALL_CHANNELS);
	guard(spinlock_irqsave)(&events->lock);
	news = !test_and_set_bit(channel, pending_of(events));
	trace_hcall_event(vm, channel, news);
	if (!news)
		return false;
	events_written(vm);
	if (!test_bit(channel, mask_of(events)))
		events_deliver(events, channel);
	return true;
}

/* Return: the first channel that @vcpu can take, or HCALL_CHANNELS. */
static u32 events_first(struct hcall_events *events, u32 vcpu)
{
	unsigned long *pending = pending_of(events), *mask = mask_of(events);
	unsigned long word;
	u32 i, channel, owner;

	lockdep_assert_held(&events->lock);
	for (i = 0; i < WORDS; i++) {
		word = READ_ONCE(pending[i]);
		if (likely(!word))
			continue;
		for (word &= ~READ_ONCE(mask[i]); word; word &= word - 1) {
			channel = i * BITS_PER_LONG + __ffs(word);
			if (!events->routes)
				return channel;
			owner = events->routes[channel].vcpu;
			if (owner == vcpu || owner == HCALL_VCPU_ANY)
				return channel;
		}
	}
	return HCALL_CHANNELS;
}

static bool events_any(struct hcall_events *events, u32 vcpu)
{
	guard(spinlock_irqsave)(&events->lock);
	return events_first(events, vcpu) < HCALL_CHANNELS;
}

/**
 * hcall_route_set() - say where a channel's events go to
 * @vm:      whose
 * @channel: below HCALL_CHANNELS
 * @vcpu:    index, or HCALL_VCPU_ANY
 * @eventfd: a reference, which goes over; or NULL
 *
 * Context: process.
 * Return: 0 or -ENOMEM; then the reference is still the caller's.
 */
int hcall_route_set(struct hcall_vm *vm, u32 channel, u32 vcpu,
		    struct eventfd_ctx *eventfd)
{
	struct hcall_events *events = &vm->events;
	struct hcall_route *routes = NULL;
	u32 i;

	channel = array_index_nospec(channel, HCALL_CHANNELS);
	/* Once there they stay, so a look without the lock is good enough. */
	if (!READ_ONCE(events->routes)) {
		routes = kvmalloc_array(HCALL_CHANNELS, sizeof(*routes),
					GFP_KERNEL_ACCOUNT);
		if (!routes)
			return -ENOMEM;
		for (i = 0; i < HCALL_CHANNELS; i++)
			routes[i] = (struct hcall_route){ HCALL_VCPU_ANY };
	}
	scoped_guard(spinlock_irqsave, &events->lock) {
		if (!events->routes)
			swap(events->routes, routes);
		events->routes[channel].vcpu = vcpu;
		swap(events->routes[channel].eventfd, eventfd);
		events_deliver_pending(events, channel);
	}
	kvfree(routes);
	if (eventfd)
		eventfd_ctx_put(eventfd);
	return 0;
}

void hcall_events_init(struct hcall_vm *vm)
{
	struct hcall_events *events = &vm->events;

	spin_lock_init(&events->lock);
	events->bits = &events->own;
	hcall_sleepers_init(&events->sleepers, vm);
}

/**
 * hcall_events_free() - nothing fires any more
 * @vm: unbound, without devices and timers
 */
void hcall_events_free(struct hcall_vm *vm)
{
	struct hcall_events *events = &vm->events;
	u32 i;

	hcall_sleepers_free(&events->sleepers);
	for (i = 0; events->routes && i < HCALL_CHANNELS; i++) {
		if (events->routes[i].eventfd)
			eventfd_ctx_put(events->routes[i].eventfd);
	}
	kvfree(events->routes);
	if (events->page)
		unpin_user_pages_dirty_lock(&events->page, 1, true);
}

/* ---- Calls ----------------------------------------------------------------- */

static s64 event_page(struct hcall_call *call)
{
	struct hcall_events *events = &call->vm->events;
	struct page *page = NULL;
	u64 gpa = call->args[0];
	void *bits = &events->own;

	if (gpa != HCALL_NO_PAGE) {
		if (gpa % sizeof(struct hcall_event_page))
			return -HCALL_EINVAL;
		page = hcall_pin(call->vm, gpa, &bits);
		if (IS_ERR(page))
			return hcall_error(PTR_ERR(page));
	}
	scoped_guard(spinlock_irqsave, &events->lock) {
		if (bits != events->bits)
			memcpy(bits, events->bits, sizeof(*events->bits));
		events->bits = bits;
		events->gpa = gpa;
		swap(events->page, page);
		events_written(call->vm);
	}
	if (page)
		unpin_user_pages_dirty_lock(&page, 1, true);
	return 0;
}

static s64 event_next(struct hcall_call *call)
{
	struct hcall_events *events = &call->vm->events;
	u32 vcpu, channel, tries;

	if (call->door == HCALL_DOOR_ASYNC)
		return -HCALL_EOPNOTSUPP;
	vcpu = hcall_vcpu(call);
	guard(spinlock_irqsave)(&events->lock);
	/* The guest itself may take bits meanwhile, but not to hold us up. */
	for (tries = 0; tries < HCALL_CHANNELS; tries++) {
		channel = events_first(events, vcpu);
		if (channel == HCALL_CHANNELS)
			break;
		if (!test_and_clear_bit(channel, pending_of(events)))
			continue;
		events_written(call->vm);
		return channel;
	}
	return -HCALL_EAGAIN;
}

static s64 event_wait(struct hcall_call *call)
{
	struct hcall_events *events = &call->vm->events;
	u64 deadline = call->args[0], flags = call->args[1];
	ktime_t until = KTIME_MAX;
	u32 vcpu;
	int ret;

	if (flags & ~(u64)HCALL_WAIT_DEADLINE ||
	    (flags ? deadline > KTIME_MAX : deadline))
		return -HCALL_EINVAL;
	if (!hcall_may_sleep(call))
		return -HCALL_EOPNOTSUPP;
	vcpu = hcall_vcpu(call);
	if (events_any(events, vcpu))
		return 0;
	if (flags) {
		until = deadline;
		if (until <= ktime_get())
			return 0;
	}
	if (signal_pending(current))
		return -HCALL_EINTR;
	ret = hcall_sleep_until(&events->sleepers, call, until);
	if (ret)
		return hcall_error(ret);
	/* What came before we were on the list wakes nobody. */
	if (events_any(events, vcpu))
		hcall_stay_awake(&events->sleepers, call);
	return 0;
}

static s64 event_mask(struct hcall_call *call)
{
	struct hcall_events *events = &call->vm->events;
	u64 channel = call->args[0], on = call->args[1];
	s64 was;

	if (channel >= HCALL_CHANNELS || on > 1)
		return -HCALL_EINVAL;
	channel = array_index_nospec(channel, HCALL_CHANNELS);
	guard(spinlock_irqsave)(&events->lock);
	if (on)
		was = test_and_set_bit(channel, mask_of(events));
	else
		was = test_and_clear_bit(channel, mask_of(events));
	events_written(call->vm);
	if (was && !on)
		events_deliver_pending(events, channel);
	return was;
}

/* Without an interrupt the answer is ours, else the launcher's. */
static s64 event_route(struct hcall_call *call)
{
	u64 channel = call->args[0], vcpu = call->args[1];
	u64 vector = call->args[2], flags = call->args[3];
	u32 to = HCALL_VCPU_ANY;
	int ret;

	if (channel >= HCALL_CHANNELS || vcpu > U32_MAX ||
	    flags & ~(u64)HCALL_ROUTE_LINE)
		return -HCALL_EINVAL;
	if (flags ? vector > HCALL_ROUTE_MAX_LINE :
		    vector && (vector < HCALL_ROUTE_MIN_VECTOR ||
			       vector > HCALL_ROUTE_MAX_VECTOR ||
			       vcpu == HCALL_VCPU_ANY))
		return -HCALL_EINVAL;
	if (vcpu != HCALL_VCPU_ANY) {
		ret = hcall_vcpu_by_id(call->vm, vcpu);
		if (ret < 0)
			return -HCALL_ENODEV;
		to = ret;
	}
	if (flags || vector) {
		if (call->door != HCALL_DOOR_REGISTER)
			return -HCALL_EOPNOTSUPP;
		return hcall_forward(call, HCALL_INDEX_EVENT);
	}
	ret = hcall_route_set(call->vm, channel, to, NULL);
	return ret ? hcall_error(ret) : 0;
}

static s64 event_raise(struct hcall_call *call)
{
	u64 channel = call->args[0];

	if (channel < HCALL_CHANNEL_GUEST || channel >= HCALL_CHANNELS)
		return -HCALL_EINVAL;
	hcall_fire(call->vm, channel);
	return 0;
}

const struct hcall_service hcall_event = {
	.class_id = HCALL_CLASS_EVENT,
	.index = HCALL_INDEX_EVENT,
	.fn = {
		[HCALL_NR_FUNCTION(HCALL_EVENT_PAGE)] = event_page,
		[HCALL_NR_FUNCTION(HCALL_EVENT_NEXT)] = event_next,
		[HCALL_NR_FUNCTION(HCALL_EVENT_WAIT)] = event_wait,
		[HCALL_NR_FUNCTION(HCALL_EVENT_MASK)] = event_mask,
		[HCALL_NR_FUNCTION(HCALL_EVENT_ROUTE)] = event_route,
		[HCALL_NR_FUNCTION(HCALL_EVENT_RAISE)] = event_raise,
	},
	.functions = HCALL_FN_BIT(HCALL_EVENT_PAGE) |
		     HCALL_FN_BIT(HCALL_EVENT_NEXT) |
		     HCALL_FN_BIT(HCALL_EVENT_WAIT) |
		     HCALL_FN_BIT(HCALL_EVENT_MASK) |
		     HCALL_FN_BIT(HCALL_EVENT_ROUTE) |
		     HCALL_FN_BIT(HCALL_EVENT_RAISE),
};
