/* SPDX-License-Identifier: MIT */
/* ping: is the peer there, and how long does it take? */
#ifndef PING_H
#define PING_H

#include <stdint.h>

#define PING_BYTES 56u /* as everywhere; with the headers it is 98 */

/*
 * Sends @count echo requests of @bytes bytes, one every @interval_ms, and shows
 * the answers, until Ctrl-C.
 *
 * Return: -ERR_NO_ANSWER if one was lost.
 */
int ping(uint32_t address, uint32_t count, uint32_t interval_ms,
	 uint32_t bytes);

#endif /* PING_H */
