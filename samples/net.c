// SPDX-License-Identifier: MIT
/*
 * The network.
 *
 * Frames are taken from the interface by whoever waits: by net_receive(), for
 * an answer, or by net_serve(), because there is nothing else to do.  Both
 * answer ARP and echo requests on the way.  What nobody waits for is dropped.
 *
 * There is no table of neighbours: who wants to talk asks for the peer first,
 * and an answer goes back to where the question came from.
 *
 * Anyone can send anything.  A header is read only after span_cut() has found
 * that it is there, and a length in it counts only if it fits in what is there.
 * Packets that were cut into fragments are not put together, but dropped.
 */
#include "net.h"
#include "clock.h"
#include "error.h"
#include "event.h"
#include "hcall_call.h"
#include "line.h"
#include "string.h"
#include "wire.h"

#define SERVE_FRAMES	  64 /* then look whether there is other work */
#define ARP_TRIES	  3

#define ETHERNET_ARP	  0x0806
#define ETHERNET_IPV4	  0x0800

#define ARP_ETHERNET	  1
#define ARP_REQUEST	  1
#define ARP_REPLY	  2

#define IP_VERSION	  0x40
#define IP_DONT_FRAGMENT  0x4000
#define IP_TTL		  64
#define IP_ICMP		  1
#define IP_UDP		  17

#define ICMP_ECHO_REPLY	  0
#define ICMP_ECHO_REQUEST 8

struct ethernet {
	uint8_t to[NET_MAC_BYTES];
	uint8_t from[NET_MAC_BYTES];
	be16 type;
};

struct arp {
	be16 link, protocol;
	uint8_t mac_bytes, address_bytes;
	be16 operation;
	uint8_t from_mac[NET_MAC_BYTES];
	be32 from;
	uint8_t to_mac[NET_MAC_BYTES];
	be32 to;
};

struct ipv4 {
	uint8_t version; /* in the upper 4 bits; below: words of the header */
	uint8_t service;
	be16 bytes; /* with the header */
	be16 id;
	be16 fragment;
	uint8_t ttl;
	uint8_t protocol;
	be16 checksum; /* of the header */
	be32 from, to;
};

struct udp {
	be16 from, to;
	be16 bytes; /* with the header */
	be16 checksum;
};

struct echo {
	uint8_t type, code;
	be16 checksum;
	be16 id, number;
};

HCALL_ASSERT(ethernet_size, sizeof(struct ethernet) == HCALL_NET_MIN_BYTES);
HCALL_ASSERT(arp_size, sizeof(struct arp) == 28);
HCALL_ASSERT(ipv4_size, sizeof(struct ipv4) == NET_IP_HEADER_BYTES);
HCALL_ASSERT(udp_size, sizeof(struct udp) == NET_UDP_HEADER_BYTES);
HCALL_ASSERT(echo_size, sizeof(struct echo) == NET_UDP_HEADER_BYTES);

struct net net;

const struct net_peer net_everyone = { NET_BROADCAST,
				       { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };

static uint8_t received[HCALL_NET_MAX_BYTES];

/* The frame to be sent; what is in it depends on the types. */
static struct {
	struct ethernet ethernet;
	union {
		struct arp arp;
		struct {
			struct ipv4 ip;
			union {
				struct udp udp;
				struct echo echo;
			};
			uint8_t data[65535 - 28];
		};
	};
} frame;

/* ---- The interface ----------------------------------------------------- */

void net_start(void)
{
	uint32_t i;

	for (i = 0;
	     hcall_device(i, (uintptr_t)&net.device, sizeof(net.device)) > 0;
	     i++) {
		net.is_there = net.device.class_id == HCALL_CLASS_NET;
		if (net.is_there)
			break;
	}
}

int net_check(void)
{
	int64_t link;

	if (!net.is_there)
		return -ERR_NO_NETWORK;
	link = hcall_net_link(net.device.unit);
	if (link < 0)
		return (int)link;
	net.mtu = HCALL_LINK_MTU(link);
	return link & HCALL_LINK_UP ? 0 : -ERR_LINK_DOWN;
}

/* ---- Checksums --------------------------------------------------------- */

/* Adds 16 bits at a time; a last odd byte counts as if 0 came after it. */
static uint32_t add_up(uint32_t sum, const void *data, uint32_t bytes)
{
	const uint8_t *at = data;

	for (; bytes > 1; bytes -= 2, at += 2)
		sum += (uint32_t)(at[0] << 8 | at[1]);
	return bytes ? sum + (uint32_t)(at[0] << 8) : sum;
}

/* The checksum of what was added up; 0 if a good one was part of it. */
static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* UDP's checksum is over the addresses, too. */
static uint32_t add_up_udp(const struct ipv4 *ip, const struct udp *udp)
{
	uint32_t bytes = from_be16(udp->bytes);
	uint32_t sum = IP_UDP + bytes;

	sum = add_up(sum, &ip->from, sizeof(ip->from));
	sum = add_up(sum, &ip->to, sizeof(ip->to));
	return add_up(sum, udp, bytes);
}

/* ---- Sending ----------------------------------------------------------- */

/* Waits until the host has room: what we send is not lost by us. */
static int send_frame(const uint8_t *to_mac, uint16_t type, uint32_t bytes)
{
	int64_t error;

	memcpy(frame.ethernet.to, to_mac, NET_MAC_BYTES);
	memcpy(frame.ethernet.from, net.device.u.net.mac, NET_MAC_BYTES);
	frame.ethernet.type = to_be16(type);
	bytes += (uint32_t)sizeof(frame.ethernet);
	do {
		error = hcall_net_send(net.device.unit, (uintptr_t)&frame,
				       bytes, 0);
	} while (error == -HCALL_EAGAIN || error == -HCALL_EINTR);
	return (int)error;
}

static int send_arp(uint16_t operation, const uint8_t *to_mac, uint32_t to)
{
	frame.arp = (struct arp){
		.link = to_be16(ARP_ETHERNET),
		.protocol = to_be16(ETHERNET_IPV4),
		.mac_bytes = NET_MAC_BYTES,
		.address_bytes = sizeof(frame.arp.to),
		.operation = to_be16(operation),
		.from = to_be32(net.address),
		.to = to_be32(to),
	};
	memcpy(frame.arp.from_mac, net.device.u.net.mac, NET_MAC_BYTES);
	memcpy(frame.arp.to_mac, to_mac, NET_MAC_BYTES);
	return send_frame(to_mac, ETHERNET_ARP, sizeof(frame.arp));
}

static bool fits(uint32_t bytes)
{
	uint32_t headers = NET_IP_HEADER_BYTES + NET_UDP_HEADER_BYTES;

	return net.mtu >= headers && bytes <= net.mtu - headers;
}

/* The packet is in the frame, but for the IP header. */
static void fill_in_ip(const struct net_peer *to, uint8_t protocol,
		       uint32_t bytes)
{
	frame.ip = (struct ipv4){
		.version = IP_VERSION | sizeof(frame.ip) / 4,
		.bytes = to_be16((uint32_t)sizeof(frame.ip) + bytes),
		.fragment = to_be16(IP_DONT_FRAGMENT),
		.ttl = IP_TTL,
		.protocol = protocol,
		.from = to_be32(net.address),
		.to = to_be32(to->address),
	};
	frame.ip.checksum =
		to_be16(checksum(add_up(0, &frame.ip, sizeof(frame.ip))));
}

static int send_ip(const struct net_peer *to)
{
	return send_frame(to->mac, ETHERNET_IPV4, from_be16(frame.ip.bytes));
}

int net_send_udp(const struct net_peer *to, uint16_t from_port,
		 uint16_t to_port, const void *data, uint32_t bytes)
{
	uint16_t sum;

	if (!fits(bytes))
		return -ERR_TOO_LONG;
	memcpy(frame.data, data, bytes);
	bytes += NET_UDP_HEADER_BYTES;
	frame.udp = (struct udp){
		.from = to_be16(from_port),
		.to = to_be16(to_port),
		.bytes = to_be16(bytes),
	};
	fill_in_ip(to, IP_UDP, bytes);
	sum = checksum(add_up_udp(&frame.ip, &frame.udp));
	frame.udp.checksum = to_be16(sum ? sum : 0xffff); /* 0: there is none */
	return send_ip(to);
}

static int send_echo(const struct net_peer *to, uint8_t type, uint16_t id,
		     uint16_t number, const void *data, uint32_t bytes)
{
	if (!fits(bytes))
		return -ERR_TOO_LONG;
	memcpy(frame.data, data, bytes);
	bytes += (uint32_t)sizeof(frame.echo);
	frame.echo = (struct echo){
		.type = type,
		.id = to_be16(id),
		.number = to_be16(number),
	};
	frame.echo.checksum = to_be16(checksum(add_up(0, &frame.echo, bytes)));
	fill_in_ip(to, IP_ICMP, bytes);
	return send_ip(to);
}

int net_send_echo_request(const struct net_peer *to, uint16_t id,
			  uint16_t number, const void *data, uint32_t bytes)
{
	return send_echo(to, ICMP_ECHO_REQUEST, id, number, data, bytes);
}

/* ---- Receiving --------------------------------------------------------- */

/* Received bytes that have not been looked at yet. */
struct span {
	const uint8_t *at;
	uint32_t bytes;
};

/* Cuts a header off the front; NULL: there are fewer bytes. */
static const void *span_cut(struct span *span, uint32_t bytes)
{
	const uint8_t *header = span->at;

	if (span->bytes < bytes)
		return NULL;
	span->at += bytes;
	span->bytes -= bytes;
	return header;
}

/* Everyone on our link, but a link of two has no such address. */
static bool is_broadcast(uint32_t address)
{
	return address == NET_BROADCAST ||
	       (net.address && ~net.mask > 1 &&
		address == (net.address | ~net.mask));
}

static bool is_one_host(uint32_t address)
{
	return address && address >> 28 < 0xe && /* nor multicast and above */
	       !is_broadcast(address);
}

/* Until we have an address, DHCP sends to the one that we shall have. */
static bool is_for_us(uint32_t address)
{
	return !net.address || address == net.address || is_broadcast(address);
}

/*
 * Each of these takes what is in the next layer.  Return: is it for the caller
 * of net_receive()?  It is then in *@packet.
 */
static bool take_arp(struct span span, struct net_packet *packet)
{
	const struct arp *arp = span_cut(&span, sizeof(*arp));

	if (!arp || from_be16(arp->link) != ARP_ETHERNET ||
	    from_be16(arp->protocol) != ETHERNET_IPV4 ||
	    arp->mac_bytes != NET_MAC_BYTES ||
	    arp->address_bytes != sizeof(arp->to) || arp->from_mac[0] & 1 ||
	    !net.address || from_be32(arp->to) != net.address)
		return false;

	packet->kind = NET_ARP_REPLY;
	packet->from.address = from_be32(arp->from);
	memcpy(packet->from.mac, arp->from_mac, NET_MAC_BYTES);
	if (from_be16(arp->operation) == ARP_REQUEST)
		send_arp(ARP_REPLY, packet->from.mac, packet->from.address);
	return from_be16(arp->operation) == ARP_REPLY;
}

static bool take_icmp(const struct ipv4 *ip, struct span span,
		      struct net_packet *packet)
{
	uint16_t sum = checksum(add_up(0, span.at, span.bytes));
	const struct echo *echo = span_cut(&span, sizeof(*echo));

	/* Who asks everyone gets no answer: it may be meant to hit another. */
	if (!echo || sum || echo->code || !net.address ||
	    from_be32(ip->to) != net.address)
		return false;

	packet->kind = NET_ECHO_REPLY;
	packet->id = from_be16(echo->id);
	packet->number = from_be16(echo->number);
	packet->data = span.at;
	packet->bytes = span.bytes;
	if (echo->type == ICMP_ECHO_REQUEST)
		send_echo(&packet->from, ICMP_ECHO_REPLY, packet->id,
			  packet->number, packet->data, packet->bytes);
	return echo->type == ICMP_ECHO_REPLY;
}

static bool take_udp(const struct ipv4 *ip, struct span span,
		     struct net_packet *packet)
{
	uint32_t there = span.bytes;
	const struct udp *udp = span_cut(&span, sizeof(*udp));
	uint32_t bytes;

	if (!udp)
		return false;
	bytes = from_be16(udp->bytes);
	if (bytes < sizeof(*udp) || bytes > there ||
	    (from_be16(udp->checksum) && checksum(add_up_udp(ip, udp))))
		return false;

	packet->kind = NET_UDP;
	packet->from_port = from_be16(udp->from);
	packet->to_port = from_be16(udp->to);
	packet->data = span.at;
	packet->bytes = bytes - (uint32_t)sizeof(*udp);
	return true;
}

static bool take_ip(struct span span, struct net_packet *packet)
{
	struct span header = span;
	const struct ipv4 *ip = span_cut(&span, sizeof(*ip));
	uint32_t header_bytes, bytes;

	if (!ip)
		return false;
	header_bytes = (ip->version & 0x0fu) * 4;
	bytes = from_be16(ip->bytes);
	if ((ip->version & 0xf0) != IP_VERSION || header_bytes < sizeof(*ip) ||
	    bytes < header_bytes || bytes > header.bytes ||
	    checksum(add_up(0, ip, header_bytes)) ||
	    from_be16(ip->fragment) & ~IP_DONT_FRAGMENT ||
	    !is_one_host(from_be32(ip->from)) || !is_for_us(from_be32(ip->to)))
		return false;

	packet->from.address = from_be32(ip->from);
	span.at = header.at + header_bytes;
	span.bytes = bytes - header_bytes; /* short frames have a padding */
	switch (ip->protocol) {
	case IP_ICMP:
		return take_icmp(ip, span, packet);
	case IP_UDP:
		return take_udp(ip, span, packet);
	}
	return false;
}

static bool take_ethernet(struct span span, struct net_packet *packet)
{
	const struct ethernet *ethernet = span_cut(&span, sizeof(*ethernet));

	if (!ethernet || ethernet->from[0] & 1 || /* a group can't send */
	    (memcmp(ethernet->to, net.device.u.net.mac, NET_MAC_BYTES) &&
	     memcmp(ethernet->to, net_everyone.mac, NET_MAC_BYTES)))
		return false;

	memcpy(packet->from.mac, ethernet->from, NET_MAC_BYTES);
	switch (from_be16(ethernet->type)) {
	case ETHERNET_ARP:
		return take_arp(span, packet);
	case ETHERNET_IPV4:
		return take_ip(span, packet);
	}
	return false;
}

/* Return: 0: there was a frame, and *@is_packet says if it is in *@packet. */
static int take_frame(struct net_packet *packet, bool *is_packet)
{
	struct span span = { .at = received };
	int64_t n;

	do {
		n = hcall_net_recv(net.device.unit, (uintptr_t)received,
				   sizeof(received), HCALL_NOWAIT);
	} while (n == -HCALL_EINTR);
	if (n < 0)
		return (int)n;
	if (n > (int64_t)sizeof(received)) /* no host does this */
		return -HCALL_EIO;
	span.bytes = (uint32_t)n;
	*is_packet = take_ethernet(span, packet);
	return 0;
}

bool net_serve(void)
{
	struct net_packet packet;
	bool is_packet;
	int i;

	for (i = 0; net.is_there && i < SERVE_FRAMES; i++)
		if (take_frame(&packet, &is_packet))
			return false;
	return net.is_there;
}

/* The deadline comes first: there may always be a frame, and never ours. */
int net_receive(struct net_packet *packet, uint64_t deadline)
{
	while (clock_now() < deadline) {
		bool is_packet = false;
		int error = take_frame(packet, &is_packet);

		if (is_packet)
			return 0;
		if (error == -HCALL_EAGAIN) {
			if (line_cancelled())
				return -ERR_CANCELLED;
			error = event_wait(deadline);
		}
		if (error)
			return error;
	}
	return -ERR_NO_ANSWER;
}

/* ---- Addresses --------------------------------------------------------- */

int net_find_peer(uint32_t address, struct net_peer *peer)
{
	bool is_near = !((address ^ net.address) & net.mask);
	uint32_t hop = is_near ? address : net.router;
	struct net_packet packet;
	int error = net_check();
	int tries;

	if (!error && !net.address)
		error = -ERR_NO_ADDRESS;
	if (!error && !hop)
		error = -ERR_NO_ROUTE;

	for (tries = 0; !error && tries < ARP_TRIES; tries++) {
		uint64_t deadline = clock_now() + CLOCK_SECOND;

		error = send_arp(ARP_REQUEST, net_everyone.mac, hop);
		while (!error) {
			error = net_receive(&packet, deadline);
			if (!error && packet.kind == NET_ARP_REPLY &&
			    packet.from.address == hop) {
				*peer = packet.from;
				peer->address = address;
				return 0;
			}
		}
		if (error == -ERR_NO_ANSWER)
			error = 0;
	}
	return error ? error : -ERR_NO_ANSWER;
}

const char *net_text(uint32_t address, char text[NET_ADDRESS_BYTES])
{
	char *to = text;
	int shift;

	for (shift = 24; shift >= 0; shift -= 8) {
		uint32_t n = address >> shift & 0xff;

		if (n >= 100)
			*to++ = (char)('0' + n / 100);
		if (n >= 10)
			*to++ = (char)('0' + n / 10 % 10);
		*to++ = (char)('0' + n % 10);
		*to++ = shift ? '.' : '\0';
	}
	return text;
}

bool net_parse(const char **text, uint32_t *address)
{
	uint64_t n;
	int i;

	*address = 0;
	for (i = 0; i < 4; i++) {
		if (i && *(*text)++ != '.')
			return false;
		if (!parse_number(text, 255, &n))
			return false;
		*address = *address << 8 | (uint32_t)n;
	}
	return true;
}
