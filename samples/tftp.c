// SPDX-License-Identifier: MIT
/*
 * TFTP.
 *
 *	client: I want the file        (RRQ, with options)
 *	server: these options are fine (OACK; without any: block 1)
 *	client: got block 0            (ACK)
 *	server: blocks 1, 2, ... w     (DATA)
 *	client: got block w            (ACK)
 *	...
 *
 * A block that is not full is the last.  Blocks are taken in order only: when
 * one is missing we acknowledge what we have, and the server goes on from
 * there.  When nothing comes we say again what we said last.
 */
#include "tftp.h"
#include "clock.h"
#include "console.h"
#include "error.h"
#include "hcall_call.h"
#include "net.h"
#include "string.h"
#include "wire.h"

#define SERVER_PORT	  69
#define FIRST_CLIENT_PORT 49152u /* for whoever needs one */
#define CLIENT_PORTS	  16384u
#define TRIES		  5
#define TIMEOUT		  CLOCK_SECOND
#define WINDOW_BLOCKS	  16u
#define DEFAULT_BLOCK	  512u
#define MIN_BLOCK	  8u
#define MAX_BLOCK	  65464u
#define REQUEST_BYTES	  512u

enum opcode {
	RRQ = 1,
	DATA = 3,
	ACK = 4,
	ERROR = 5,
	OACK = 6
};

#define HEADER_BYTES 4u /* of DATA, ACK and ERROR */
#define OPCODE_BYTES 2u

struct header {
	be16 opcode;
	be16 number; /* of a block or an error */
};

struct transfer {
	struct net_peer server;
	uint16_t our_port;
	uint16_t server_port; /* 0: it has not answered yet */
	uint32_t block_bytes, window_blocks;
	uint64_t file_bytes; /* 0: not told */
	tftp_put *put;

	uint32_t got_blocks; /* in order; on the wire only the low 16 bits */
	uint32_t unacknowledged; /* blocks since the last ACK */
	bool told_of_gap; /* but once, not for each block after it */
	bool done;

	uint8_t request[REQUEST_BYTES];
	uint32_t request_bytes;
};

/* ---- Sending ----------------------------------------------------------- */

static bool add_string(struct transfer *t, const char *s)
{
	uint32_t bytes = (uint32_t)strlen(s) + 1;

	if (bytes > sizeof(t->request) - t->request_bytes)
		return false;
	memcpy(t->request + t->request_bytes, s, bytes);
	t->request_bytes += bytes;
	return true;
}

static bool add_option(struct transfer *t, const char *name, uint32_t value)
{
	char digits[11], *s = digits + sizeof(digits);

	*--s = '\0';
	do {
		*--s = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return add_string(t, name) && add_string(t, s);
}

/* What we ask for: blocks that fill a frame. */
static uint32_t max_block_bytes(void)
{
	uint32_t bytes = net.mtu - NET_IP_HEADER_BYTES - NET_UDP_HEADER_BYTES -
			 HEADER_BYTES;

	return bytes < MAX_BLOCK ? bytes : MAX_BLOCK;
}

static bool make_request(struct transfer *t, const char *name)
{
	t->request[1] = RRQ;
	t->request_bytes = OPCODE_BYTES;
	return add_string(t, name) && add_string(t, "octet") &&
	       add_option(t, "tsize", 0) &&
	       add_option(t, "blksize", max_block_bytes()) &&
	       add_option(t, "windowsize", WINDOW_BLOCKS);
}

static int send_request(const struct transfer *t)
{
	return net_send_udp(&t->server, t->our_port, SERVER_PORT, t->request,
			    t->request_bytes);
}

static int send_ack(struct transfer *t)
{
	struct header ack = { to_be16(ACK), to_be16(t->got_blocks) };

	t->unacknowledged = 0;
	return net_send_udp(&t->server, t->our_port, t->server_port, &ack,
			    sizeof(ack));
}

/* ---- Receiving --------------------------------------------------------- */

/* Cuts a string off the front; NULL: its end is not there. */
static const char *cut_string(const uint8_t **at, const uint8_t *end)
{
	const char *s = (const char *)*at;

	while (*at < end)
		if (!*(*at)++)
			return s;
	return NULL;
}

static bool is_option(const char *name, const char *option)
{
	return equal_ignoring_case(name, strlen(name), option);
}

/* The options that the server takes, each with its value for it. */
static int take_options(struct transfer *t, const struct net_packet *packet)
{
	const uint8_t *at = packet->data + OPCODE_BYTES;
	const uint8_t *end = packet->data + packet->bytes;

	while (at < end) {
		const char *name = cut_string(&at, end);
		const char *value = cut_string(&at, end);
		uint64_t n;

		if (!value || !parse_number(&value, UINT32_MAX, &n) || *value)
			return -ERR_PROTOCOL;
		if (is_option(name, "tsize"))
			t->file_bytes = n;
		else if (is_option(name, "blksize") && n >= MIN_BLOCK &&
			 n <= max_block_bytes())
			t->block_bytes = (uint32_t)n;
		else if (is_option(name, "windowsize") && n >= 1 &&
			 n <= WINDOW_BLOCKS)
			t->window_blocks = (uint32_t)n;
		else /* we have not asked for that */
			return -ERR_PROTOCOL;
	}
	return send_ack(t);
}

static int take_data(struct transfer *t, const struct net_packet *packet)
{
	const struct header *header = (const void *)packet->data;
	uint32_t bytes = packet->bytes - HEADER_BYTES;
	int error;

	if (bytes > t->block_bytes)
		return -ERR_PROTOCOL;
	if (from_be16(header->number) != (uint16_t)(t->got_blocks + 1)) {
		if (t->told_of_gap)
			return 0;
		t->told_of_gap = true;
		return send_ack(t);
	}
	error = t->put(packet->data + HEADER_BYTES, bytes, t->file_bytes);
	if (error)
		return error;
	t->got_blocks++;
	t->told_of_gap = false;
	t->done = bytes < t->block_bytes;
	if (++t->unacknowledged < t->window_blocks && !t->done)
		return 0;
	return send_ack(t);
}

/* Shows the server's own words, as far as a terminal can. */
static int take_error(const struct net_packet *packet)
{
	const uint8_t *at = packet->data + HEADER_BYTES;
	const uint8_t *end = packet->data + packet->bytes;
	char text[128];
	size_t length = 0;

	for (; at < end && *at && length < sizeof(text) - 1; at++)
		text[length++] = *at >= ' ' && *at < 0x7f ? (char)*at : '?';
	text[length] = '\0';
	print("the server says: %s\n", text);
	return -ERR_REFUSED;
}

static int take(struct transfer *t, const struct net_packet *packet)
{
	const struct header *header = (const void *)packet->data;

	switch (from_be16(header->opcode)) {
	case OACK: /* but an old one is stale */
		return t->got_blocks ? 0 : take_options(t, packet);
	case DATA:
		return take_data(t, packet);
	case ERROR:
		return take_error(packet);
	}
	return 0;
}

/* Waits for the next packet of this transfer. */
static int receive(struct transfer *t, struct net_packet *packet,
		   uint64_t deadline)
{
	for (;;) {
		int error = net_receive(packet, deadline);

		if (error)
			return error;
		if (packet->kind != NET_UDP ||
		    packet->from.address != t->server.address ||
		    packet->to_port != t->our_port ||
		    packet->bytes < HEADER_BYTES)
			continue;
		/* The server takes a port of its own for each transfer. */
		if (!t->server_port)
			t->server_port = packet->from_port;
		if (packet->from_port == t->server_port)
			return 0;
	}
}

/* Says again what we said last. */
static int repeat(struct transfer *t)
{
	t->told_of_gap = false;
	return t->server_port ? send_ack(t) : send_request(t);
}

static int run(struct transfer *t)
{
	uint64_t deadline = clock_now() + TIMEOUT;
	int error = send_request(t);
	int tries = 1;

	while (!error && !t->done) {
		uint32_t got_blocks = t->got_blocks;
		struct net_packet packet;

		error = receive(t, &packet, deadline);
		if (!error) {
			error = take(t, &packet);
			if (t->got_blocks == got_blocks)
				continue; /* no help: the deadline stays */
			tries = 0;
		} else if (error == -ERR_NO_ANSWER && tries++ < TRIES) {
			error = repeat(t);
		}
		deadline = clock_now() + TIMEOUT;
	}
	return error;
}

int tftp_get(uint32_t address, const char *name, tftp_put *put)
{
	static struct transfer t;
	int error;

	memset(&t, 0, sizeof(t));
	error = net_find_peer(address, &t.server);
	if (error)
		return error;
	t.put = put;
	t.block_bytes = DEFAULT_BLOCK;
	t.window_blocks = 1;
	if (!make_request(&t, name))
		return -ERR_TOO_LONG;

	/* A port that an answer to an earlier transfer does not come to. */
	hcall_random((uintptr_t)&t.our_port, sizeof(t.our_port));
	t.our_port = (uint16_t)(FIRST_CLIENT_PORT + t.our_port % CLIENT_PORTS);
	return run(&t);
}
