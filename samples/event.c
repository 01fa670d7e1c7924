// SPDX-License-Identifier: MIT
/*
 * Events.  At first every channel may wake this CPU.  One that fires stays
 * pending until it is taken, and WAIT does not sleep while any is pending:
 *
 *	look at the device: nothing
 *					a frame arrives, its channel fires
 *	WAIT: a channel is pending, so it returns at once
 *	take all that is pending
 *	look at the device: the frame
 *
 * So nothing is missed as long as everyone looks at his device after a channel
 * was taken and before the next WAIT.  Which channel it was need not be known.
 */
#include "event.h"
#include "clock.h"
#include "error.h"
#include "hcall_call.h"
#include "line.h"
#include "net.h"

/* The host sets bits in there, at any time: they are taken without a call. */
static struct hcall_event_page page __attribute__((aligned(256)));

int event_start(void)
{
	return (int)hcall_event_page((uintptr_t)&page);
}

/* WAIT goes by the clock of calls. */
static int64_t wait_until(uint64_t deadline)
{
	uint64_t now = clock_now();
	uint64_t left = deadline > now ? deadline - now : 0;

	return hcall_event_wait(
		(uint64_t)hcall_timer_now(HCALL_CLOCK_MONOTONIC) + left,
		HCALL_WAIT_DEADLINE);
}

int event_wait(uint64_t deadline)
{
	uint32_t *word = page.pending;
	int64_t error;

	do {
		error = deadline == CLOCK_NEVER ? hcall_event_wait(0, 0)
						: wait_until(deadline);
	} while (error == -HCALL_EINTR);

	for (; word < page.pending + HCALL_CHANNELS / 32; word++)
		if (__atomic_load_n(word, __ATOMIC_RELAXED))
			__atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
	return (int)error;
}

int event_idle(uint64_t deadline)
{
	return net_serve() ? 0 : event_wait(deadline);
}

int event_sleep(uint64_t deadline)
{
	int error = 0;

	while (!error && clock_now() < deadline)
		error = line_cancelled() ? -ERR_CANCELLED
					 : event_idle(deadline);
	return error;
}
