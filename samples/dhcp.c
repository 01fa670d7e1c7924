// SPDX-License-Identifier: MIT
/*
 * DHCP: DISCOVER, OFFER, REQUEST, ACK.  Each of our two messages is sent again,
 * after 1, 2, 4 and 8 seconds, until there is an answer.
 *
 * The lease is not renewed: this is for a user who does that by typing again.
 */
#include "dhcp.h"
#include "clock.h"
#include "error.h"
#include "hcall_call.h"
#include "net.h"
#include "string.h"
#include "wire.h"

#define TRIES		   4
#define SERVER_PORT	   67
#define CLIENT_PORT	   68

#define TO_SERVER	   1
#define TO_CLIENT	   2
#define ETHERNET	   1
#define ANSWER_TO_EVERYONE 0x8000
#define COOKIE		   0x63825363

enum message_type {
	DISCOVER = 1,
	OFFER = 2,
	REQUEST = 3,
	ACK = 5,
	NAK = 6
};

enum option {
	PAD = 0,
	MASK = 1,
	ROUTER = 3,
	DNS = 6,
	ADDRESS = 50,
	LEASE_SECONDS = 51,
	MESSAGE_TYPE = 53,
	SERVER = 54,
	WANTED = 55,
	END = 255,
};

struct message {
	uint8_t operation;
	uint8_t link, mac_bytes;
	uint8_t hops;
	be32 id;
	be16 seconds;
	be16 flags;
	be32 old_address;
	be32 your_address;
	be32 boot_server;
	be32 relay;
	uint8_t mac[16];
	uint8_t boot_server_name[64];
	uint8_t boot_file[128];
	be32 cookie;
	uint8_t options[60]; /* in ours; an answer has any number */
};

#define HEADER_BYTES 240

/* Less than 300 bytes is dropped by some. */
HCALL_ASSERT(dhcp_message_size, sizeof(struct message) == 300);
HCALL_ASSERT_OFFSET(message, options, HEADER_BYTES);

/* What we need of an answer; 0: it does not tell. */
struct answer {
	uint32_t type;
	uint32_t address, mask, router, dns;
	uint32_t server, lease_seconds;
};

/* ---- Sending ----------------------------------------------------------- */

static uint8_t *add_number(uint8_t *to, uint8_t option, uint32_t number)
{
	be32 value = to_be32(number);

	*to++ = option;
	*to++ = sizeof(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

/* @offer: the one that is taken; NULL: look for servers. */
static int send_message(uint32_t id, const struct answer *offer)
{
	static const uint8_t wanted[] = { WANTED, 3, MASK, ROUTER, DNS };
	struct message message = {
		.operation = TO_SERVER,
		.link = ETHERNET,
		.mac_bytes = NET_MAC_BYTES,
		.id = to_be32(id),
		.flags = to_be16(ANSWER_TO_EVERYONE),
		.cookie = to_be32(COOKIE),
	};
	uint8_t *to = message.options;

	memcpy(message.mac, net.device.u.net.mac, NET_MAC_BYTES);
	*to++ = MESSAGE_TYPE;
	*to++ = 1;
	*to++ = offer ? REQUEST : DISCOVER;
	if (offer) {
		to = add_number(to, ADDRESS, offer->address);
		to = add_number(to, SERVER, offer->server);
	}
	memcpy(to, wanted, sizeof(wanted));
	to[sizeof(wanted)] = END;
	return net_send_udp(&net_everyone, CLIENT_PORT, SERVER_PORT, &message,
			    sizeof(message));
}

/* ---- Receiving --------------------------------------------------------- */

/* Takes one option, whose @bytes bytes are there; a list: its first entry. */
static void parse_option(struct answer *answer, uint8_t option,
			 const uint8_t *at, uint32_t bytes)
{
	uint32_t number;
	be32 value;

	if (option == MESSAGE_TYPE && bytes == 1)
		answer->type = *at;
	if (bytes < sizeof(value))
		return;
	memcpy(&value, at, sizeof(value));
	number = from_be32(value);
	switch (option) {
	case MASK:
		answer->mask = number;
		break;
	case ROUTER:
		answer->router = number;
		break;
	case DNS:
		answer->dns = number;
		break;
	case LEASE_SECONDS:
		answer->lease_seconds = number;
		break;
	case SERVER:
		answer->server = number;
		break;
	}
}

static bool is_mask(uint32_t mask)
{
	return mask && !(~mask & (~mask + 1)); /* ones, then zeros */
}

/* Is the packet a sound answer to us? */
static bool parse(const struct net_packet *packet, uint32_t id,
		  struct answer *answer)
{
	const struct message *message = (const void *)packet->data;
	const uint8_t *at = packet->data + HEADER_BYTES;
	const uint8_t *end = packet->data + packet->bytes;

	if (packet->kind != NET_UDP || packet->from_port != SERVER_PORT ||
	    packet->to_port != CLIENT_PORT || packet->bytes < HEADER_BYTES ||
	    message->operation != TO_CLIENT || from_be32(message->id) != id ||
	    memcmp(message->mac, net.device.u.net.mac, NET_MAC_BYTES) ||
	    from_be32(message->cookie) != COOKIE)
		return false;

	memset(answer, 0, sizeof(*answer));
	answer->address = from_be32(message->your_address);
	while (at < end && *at != END) {
		uint8_t option = *at++;

		if (option == PAD)
			continue;
		if (at == end || end - at - 1 < *at)
			return false;
		parse_option(answer, option, at + 1, *at);
		at += 1 + *at;
	}
	if (answer->type == NAK)
		return true;
	return answer->address && answer->address >> 28 < 0xe &&
	       answer->server && is_mask(answer->mask);
}

/* Sends DISCOVER, or REQUEST for @offer, until there is an answer. */
static int ask(uint32_t id, const struct answer *offer, struct answer *answer)
{
	struct net_packet packet;
	int try, error;

	for (try = 0; try < TRIES; try++) {
		uint64_t deadline = clock_now() + (CLOCK_SECOND << try);

		error = send_message(id, offer);
		while (!error) {
			error = net_receive(&packet, deadline);
			if (error || !parse(&packet, id, answer))
				continue;
			if (!offer && answer->type == OFFER)
				return 0;
			if (offer && answer->server == offer->server &&
			    answer->type == ACK)
				return 0;
			if (offer && answer->type == NAK)
				return -ERR_REFUSED;
		}
		if (error != -ERR_NO_ANSWER)
			return error;
	}
	return -ERR_NO_ANSWER;
}

int dhcp_get(uint32_t *server, uint32_t *lease_seconds)
{
	struct answer offer, ack;
	struct net before = net;
	uint32_t id;
	int error = net_check();

	if (error)
		return error;
	hcall_random((uintptr_t)&id, sizeof(id));

	net.address = 0; /* what we had is not ours any longer */
	error = ask(id, NULL, &offer);
	if (!error)
		error = ask(id, &offer, &ack);
	if (error) {
		net = before;
		return error;
	}
	net.address = ack.address;
	net.mask = ack.mask;
	net.router = ack.router;
	net.dns = ack.dns;
	*server = ack.server;
	*lease_seconds = ack.lease_seconds;
	return 0;
}
