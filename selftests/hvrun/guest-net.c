// SPDX-License-Identifier: GPL-2.0
/* guest-all's commands for network interfaces; always the first one. */
#include "console.h"
#include "guest-all.h"
#include "hcall_call.h"
#include "string.h"

#define NET	   0
#define ETHER_TEST 0x88b5 /* for local experiments */
#define ETHER_IP   0x0800
#define ETHER_ARP  0x0806
#define IP_UDP	   17
#define UDP_PORT   7777 /* of the echo server */
#define UDP_FROM   5555
#define UDP_AT	   42 /* where its data is in a frame */

static const uint8_t our_ip[4] = { 192, 0, 2, 15 };
static const uint8_t gateway_ip[4] = { 192, 0, 2, 2 };
static struct hcall_device nic;
static uint8_t frame[HCALL_NET_MAX_BYTES];

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void find_nic(uint32_t unit)
{
	uint32_t i;

	for (i = 0; hcall_device(i, (uintptr_t)&nic, sizeof(nic)) > 0; i++)
		if (nic.class_id == HCALL_CLASS_NET && nic.unit == unit)
			return;
	off(WRONG);
}

static uint32_t receive(void)
{
	int64_t bytes;

	do {
		bytes = hcall_net_recv(NET, (uintptr_t)frame, sizeof(frame), 0);
	} while (bytes == -HCALL_EAGAIN || bytes == -HCALL_EINTR);
	if (bytes < 0)
		off((uint32_t)-bytes);
	return (uint32_t)bytes;
}

static void send(uint32_t bytes)
{
	int64_t error;

	do {
		error = hcall_net_send(NET, (uintptr_t)frame, bytes, 0);
	} while (error == -HCALL_EAGAIN || error == -HCALL_EINTR);
	if (error)
		off((uint32_t)-error);
}

/* Of a frame in @frame, all but what follows the Ethernet header. */
static void address_to_all(uint32_t type)
{
	memset(frame, 0xff, 6);
	memcpy(frame + 6, nic.u.net.mac, 6);
	put16(frame + 12, type);
}

void do_nets(const uint64_t *n)
{
	const struct hcall_net_info *net = &nic.u.net;
	uint32_t i, count = 0;

	(void)n;
	for (i = 0; hcall_device(i, (uintptr_t)&nic, sizeof(nic)) > 0; i++) {
		if (nic.class_id != HCALL_CLASS_NET)
			continue;
		print("%u %s %02x:%02x:%02x:%02x:%02x:%02x mtu %u %s features %x\n",
		      nic.unit, nic.name, net->mac[0], net->mac[1], net->mac[2],
		      net->mac[3], net->mac[4], net->mac[5], net->mtu,
		      net->link ? "up" : "down", net->features);
		count++;
	}
	off(count);
}

/* Send n[0] test frames back to where they came from. */
void do_frames(const uint64_t *n)
{
	uint64_t left = n[0];
	uint32_t bytes;

	find_nic(NET);
	print("ready\n");
	while (left) {
		bytes = receive();
		if (get16(frame + 12) != ETHER_TEST)
			continue;
		memcpy(frame, frame + 6, 6);
		memcpy(frame + 6, nic.u.net.mac, 6);
		send(bytes);
		left--;
	}
	off(0);
}

/* The link, and again after each change, n[0] times in all. */
void do_links(const uint64_t *n)
{
	uint64_t left = n[0];
	int64_t link, last = -1;

	find_nic(NET);
	for (;;) {
		link = hcall_net_link(NET);
		if (link < 0)
			off((uint32_t)-link);
		if (link != last) {
			print("link %s %u\n",
			      link & HCALL_LINK_UP ? "up" : "down",
			      HCALL_LINK_MTU(link));
			if (!--left)
				off(0);
		}
		last = link;
		hcall_event_wait(0, 0);
		while (hcall_event_next() >= 0)
			;
	}
}

/* n[0] times "who has the gateway's address", and its answer; 100 under way. */
void do_arp(const uint64_t *n)
{
	static const uint8_t head[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	uint64_t asked = 0, answered = 0;

	find_nic(NET);
	while (answered < n[0]) {
		if (asked < n[0] && asked < answered + 100) {
			address_to_all(ETHER_ARP);
			memcpy(frame + 14, head, sizeof(head));
			memcpy(frame + 22, nic.u.net.mac, 6);
			memcpy(frame + 28, our_ip, 4);
			memset(frame + 32, 0, 6);
			memcpy(frame + 38, gateway_ip, 4);
			send(42);
			asked++;
			continue;
		}
		receive();
		answered += get16(frame + 12) == ETHER_ARP && frame[21] == 2 &&
			    !memcmp(frame + 28, gateway_ip, 4);
	}
	print("%lu answers\n", answered);
	off(0);
}

static void put_ip_header(uint32_t bytes)
{
	static const uint8_t head[10] = {
		0x45, 0, 0, 0, 0, 0, 0, 0, 64, IP_UDP
	};
	uint8_t *ip = frame + 14;
	uint32_t sum = 0, i;

	memcpy(ip, head, sizeof(head));
	put16(ip + 2, bytes);
	put16(ip + 10, 0);
	memcpy(ip + 12, our_ip, 4);
	memcpy(ip + 16, gateway_ip, 4);
	for (i = 0; i < 20; i += 2)
		sum += get16(ip + i);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~(sum + (sum >> 16)));
}

/* n[0] datagrams of n[1] bytes, each of which comes back. */
void do_udp(const uint64_t *n)
{
	uint32_t bytes = (uint32_t)n[1], j;
	uint64_t i;

	find_nic(NET);
	for (i = 0; i < n[0]; i++) {
		address_to_all(ETHER_IP);
		put_ip_header(28 + bytes);
		put16(frame + 34, UDP_FROM);
		put16(frame + 36, UDP_PORT);
		put16(frame + 38, 8 + bytes);
		put16(frame + 40, 0); /* no sum */
		for (j = 0; j < bytes; j++)
			frame[UDP_AT + j] = (uint8_t)(i + j * 7);
		send(UDP_AT + bytes);
		do {
			j = receive();
		} while (get16(frame + 12) != ETHER_IP || frame[23] != IP_UDP ||
			 get16(frame + 36) != UDP_FROM);
		if (j != UDP_AT + bytes)
			off(WRONG + 1);
		for (j = 0; j < bytes; j++)
			if (frame[UDP_AT + j] != (uint8_t)(i + j * 7))
				off(WRONG + 2);
	}
	print("%lu datagrams\n", i);
	off(0);
}
