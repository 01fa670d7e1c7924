/* SPDX-License-Identifier: MIT */
/* What time it is: the date by a call, the rest by KVM's pvclock. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_MS     ((uint64_t)1000000) /* in ns */
#define CLOCK_SECOND ((uint64_t)1000000000)
#define CLOCK_NEVER  UINT64_MAX /* as a deadline */

struct clock_date {
	unsigned int year, month, day, hour, minute, second;
};

/*
 * Once, on the CPU that will ask for the time: lets KVM tell us its clock.
 *
 * Return: false: this is not KVM, or it has no such clock; clock_now() is then
 * a call, and counts from another moment.
 */
bool clock_start(void);

/* ns since the VM was made: for measuring, and for deadlines. */
uint64_t clock_now(void);

/* The date and time of day in UTC. */
struct clock_date clock_utc(void);

#endif /* CLOCK_H */
