/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Taps with several queues, each of which a test can feed, and listen to.
 */
#ifndef TAPS_H
#define TAPS_H

#include <stdbool.h>

/* The byte of a frame by which the tap chooses the queue for it. */
#define TAPS_BYTE 15

/* One more queue of a tap, which the first one makes. */
int taps_open(const char *name, bool vnet);
/* From now on the tap's n queues get frames by byte TAPS_BYTE, modulo n. */
void taps_steer(int fd);
/* A packet socket gets only what the guest sends by that queue. */
void taps_listen(int packet, int queue);

#endif
