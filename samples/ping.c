// SPDX-License-Identifier: MIT
/* ping. */
#include "ping.h"
#include "clock.h"
#include "console.h"
#include "error.h"
#include "event.h"
#include "hcall_call.h"
#include "net.h"
#include "string.h"

#define TIMEOUT CLOCK_SECOND

struct statistics {
	uint32_t sent, received;
	uint64_t min_ns, max_ns, total_ns;
};

static uint8_t payload[65536];

static void add(struct statistics *s, uint64_t ns)
{
	if (!s->received++ || ns < s->min_ns)
		s->min_ns = ns;
	if (ns > s->max_ns)
		s->max_ns = ns;
	s->total_ns += ns;
}

/* Prints ns in ms. */
static void print_ms(uint64_t ns)
{
	print("%lu.%03lu", ns / CLOCK_MS, ns / 1000 % 1000);
}

/* Waits for the answer that has all of what was sent in it. */
static int wait_for_answer(const struct net_peer *peer, uint16_t id,
			   uint16_t number, uint32_t bytes, uint64_t deadline)
{
	struct net_packet packet;
	int error;

	for (;;) {
		error = net_receive(&packet, deadline);
		if (error)
			return error;
		if (packet.kind == NET_ECHO_REPLY &&
		    packet.from.address == peer->address && packet.id == id &&
		    packet.number == number && packet.bytes == bytes &&
		    !memcmp(packet.data, payload, bytes))
			return 0;
	}
}

static int ping_once(const struct net_peer *peer, uint16_t id, uint32_t bytes,
		     struct statistics *s)
{
	uint64_t start = clock_now(), ns;
	uint16_t number = (uint16_t)++s->sent;
	char text[NET_ADDRESS_BYTES];
	int error;

	error = net_send_echo_request(peer, id, number, payload, bytes);
	if (!error)
		error = wait_for_answer(peer, id, number, bytes,
					start + TIMEOUT);
	if (error == -ERR_NO_ANSWER) {
		print("no answer to number %u\n", s->sent);
		return 0;
	}
	if (error)
		return error;

	ns = clock_now() - start;
	add(s, ns);
	print("%u bytes from %s: number %u, ", bytes,
	      net_text(peer->address, text), s->sent);
	print_ms(ns);
	print(" ms\n");
	return 0;
}

int ping(uint32_t address, uint32_t count, uint32_t interval_ms, uint32_t bytes)
{
	struct statistics s = { .sent = 0 };
	struct net_peer peer;
	uint16_t id;
	uint32_t i;
	int error;

	error = net_find_peer(address, &peer);
	if (error)
		return error;
	if (bytes > sizeof(payload))
		return -ERR_TOO_LONG;
	for (i = 0; i < bytes; i++)
		payload[i] = (uint8_t)i;
	hcall_random((uintptr_t)&id, sizeof(id));

	while (!error && s.sent < count) {
		uint64_t start = clock_now();

		error = ping_once(&peer, id, bytes, &s);
		if (!error && s.sent < count)
			error = event_sleep(start + interval_ms * CLOCK_MS);
	}
	if (error && error != -ERR_CANCELLED)
		return error;

	print("%u sent, %u received, %u lost\n", s.sent, s.received,
	      s.sent - s.received);
	if (s.received) {
		print("ms: least ");
		print_ms(s.min_ns);
		print(", average ");
		print_ms(s.total_ns / s.received);
		print(", most ");
		print_ms(s.max_ns);
		print("\n");
	}
	return !error && s.received < s.sent ? -ERR_NO_ANSWER : error;
}
