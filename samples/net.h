/* SPDX-License-Identifier: MIT */
/*
 * The network: Ethernet, ARP, IPv4, ICMP echo and UDP on the first interface.
 *
 * IP addresses are numbers: 10.0.0.1 is 0x0a000001, and 0 is none.  Functions
 * return 0 or a negated error.
 */
#ifndef NET_H
#define NET_H

#include <stdbool.h>

#include "hcall.h"

#define NET_BROADCAST	     0xffffffffu
#define NET_MAC_BYTES	     6
#define NET_ADDRESS_BYTES    16 /* as text, with NUL */

#define NET_IP_HEADER_BYTES  20u
#define NET_UDP_HEADER_BYTES 8u /* an ICMP echo has as many */

/* Our interface.  The addresses are the user's, or those that DHCP gave. */
struct net {
	struct hcall_device device;
	bool is_there;
	uint32_t mtu;
	uint32_t address, mask, router, dns;
};

extern struct net net;

/* Who we talk to: an IP address, and where on our link its frames go. */
struct net_peer {
	uint32_t address;
	uint8_t mac[NET_MAC_BYTES];
};

extern const struct net_peer net_everyone;

enum net_kind {
	NET_ARP_REPLY,
	NET_ECHO_REPLY,
	NET_UDP
};

/* What was received: whole, for us, with a sound checksum, but by anyone. */
struct net_packet {
	enum net_kind kind;
	struct net_peer from;
	uint16_t from_port, to_port; /* of NET_UDP */
	uint16_t id, number; /* of NET_ECHO_REPLY */
	const uint8_t *data; /* of both; only until more is received */
	uint32_t bytes;
};

/* Finds the first interface, if there is one. */
void net_start(void);

/* Is there an interface whose link is up?  Looks up the MTU too. */
int net_check(void);

/* The peer through which @address is reached: itself, or our router. */
int net_find_peer(uint32_t address, struct net_peer *peer);

/* -ERR_TOO_LONG: does not fit in one frame. */
int net_send_udp(const struct net_peer *to, uint16_t from_port,
		 uint16_t to_port, const void *data, uint32_t bytes);
int net_send_echo_request(const struct net_peer *to, uint16_t id,
			  uint16_t number, const void *data, uint32_t bytes);

/*
 * Waits for a packet, and answers who asks for us meanwhile.
 *
 * Return: 0; -ERR_NO_ANSWER: it is @deadline (ns of clock_now()) and none came;
 * -ERR_CANCELLED after Ctrl-C; an error of the interface.
 */
int net_receive(struct net_packet *packet, uint64_t deadline);

/* Answers who asks for us; false: there are no more frames. */
bool net_serve(void);

/* The same address as text in @text, which is returned. */
const char *net_text(uint32_t address, char text[NET_ADDRESS_BYTES]);

/* Four numbers with dots at *@text, which is moved to what follows. */
bool net_parse(const char **text, uint32_t *address);

#endif /* NET_H */
