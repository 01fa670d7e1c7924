/* SPDX-License-Identifier: MIT */
/* DHCP: the address of our interface, from a server (RFC 2131, RFC 2132). */
#ifndef DHCP_H
#define DHCP_H

#include <stdint.h>

#define DHCP_FOREVER 0xffffffffu /* as lease */

/*
 * Sets the addresses in net, and what the user may want to know; after an
 * error they are as before.
 */
int dhcp_get(uint32_t *server, uint32_t *lease_seconds);

#endif /* DHCP_H */
