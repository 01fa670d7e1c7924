/* SPDX-License-Identifier: MIT */
/* Where the OS waits: for all devices and for the time, in one place. */
#ifndef EVENT_H
#define EVENT_H

#include <stdint.h>

/* Once, before anything else: 0, or an error of the call. */
int event_start(void);

/*
 * Sleeps until a device has something new, until @deadline (ns of clock_now(),
 * or CLOCK_NEVER), or for no reason at all.  Look at your device, or whatever
 * you wait for, before you call this, and again afterwards.
 *
 * Return: 0 or an error of the call.
 */
int event_wait(uint64_t deadline);

/* The same, for who does not care for the network: it is served meanwhile. */
int event_idle(uint64_t deadline);

/* Does nothing else until @deadline; -ERR_CANCELLED after Ctrl-C. */
int event_sleep(uint64_t deadline);

#endif /* EVENT_H */
