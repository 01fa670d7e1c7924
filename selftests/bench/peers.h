/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The other ends of the bench's calls and system calls: a tap with nobody
 * behind it, a keyboard whose keys we press, a timerfd and eventfds.
 */
#ifndef PEERS_H
#define PEERS_H

#include "vmm.h"

#define MAX_FRAME 2048 /* room for one */

struct peers {
	int tap; /* not blocking, no header, as the module has it */
	int evdev; /* not blocking, grabbed */
	int timer; /* timerfd of CLOCK_MONOTONIC */
	int counted; /* eventfd: each read takes one */
	int readable; /* eventfd: nobody reads it */
	int raised; /* eventfd: to write to */
};

extern struct peers peers;

/* Make them all, in a network namespace of our own. */
void peers_new(void);
/* Give the tap and the keyboard to a VM, unit 0 each. */
void peers_add(struct vm *vm);

/* Frame @i of so many bytes, of an ethertype that nobody in the host knows. */
void frame_fill(void *to, uint32_t bytes, long i);

/* What is in the tap's queue goes; then frames 0 to @n - 1 are there. */
void tap_refill(long n, uint32_t bytes);
/* Say if a frame sent to the tap arrives in the host; between the two. */
int sniffer_open(void);
bool sniffer_has(int sniffer, uint32_t bytes, long i);

/* No event is left; then @n are there: a key, EV_SYN, the same key, ... */
void keys_refill(long n);

/* counted has nothing left; then @n. */
void counted_refill(long n);

#endif
