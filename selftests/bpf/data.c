// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that makes each call which hcallfault knows something of, in a known
 * state, and says what it got.
 *
 * usage: data gives	calls that bring data, and some that do not; JSON lines
 *			with "call", "result" and "data" in hexadecimal
 *	  data counts	calls with a count, valid ones and then wrong ones; lines
 *			"CALL ASKED RESULT"
 *	  data disk FILE	the same with a disk of 4096 bytes a block
 */
#define _GNU_SOURCE
#include <linux/input.h>
#include <string.h>
#include <unistd.h>

#include "guests.h"

#define BUFFER	 (RAM + 0x1001) /* of no alignment */
#define FRAMES	 (RAM + 0x100000) /* struct hcall_frame each */
#define FRAME(i) (RAM + 0x200000 + (i)*0x1000)

static void start_all(void)
{
	const char *disk = make_disk("data", 1 << 20);

	start();
	add_devices();
	CHECK_EQ(vm_disk(&vm, "rw", disk, 0), 0);
	CHECK_EQ(vm_disk(&vm, "ro", disk, KVM_HCALL_ADD_READONLY), 1);
	NEED(!unlink(disk));
}

static void give_text(const char *text)
{
	NEED(write(to_console, text, strlen(text)) == (ssize_t)strlen(text));
}

static void give_keys(int n)
{
	for (int i = 0; i < n; i++) {
		struct hcall_input_event e[2] = { { EV_KEY, 1 + i, 1 },
						  { EV_SYN, SYN_REPORT, 0 } };

		NEED(write(to_input, e, sizeof(e)) == sizeof(e));
	}
}

static void give_frame(int bytes)
{
	uint8_t frame[1500];

	memset(frame, bytes, sizeof(frame));
	NEED(write(to_net, frame, bytes) == bytes);
}

/* So many elements of a RECVV or SENDV, with frames of 60 bytes. */
static void set_frames(int n)
{
	struct hcall_frame *frame = at(&vm, FRAMES);

	for (int i = 0; i < n; i++) {
		frame[i] = (struct hcall_frame){ FRAME(i), 60, 0 };
		memset(at(&vm, FRAME(i)), 0, 60);
	}
}

/* ---- gives ------------------------------------------------------------------------ */

static void print_hex(const void *data, int64_t bytes)
{
	for (int64_t i = 0; i < bytes; i++)
		printf("%02x", ((const uint8_t *)data)[i]);
}

/* The call has left so many bytes of data in the buffer. */
static void print_data(const char *name, int64_t result, int64_t bytes)
{
	printf("{\"call\":\"%s\",\"result\":%lld,\"data\":\"", name,
	       (long long)result);
	print_hex(at(&vm, BUFFER), bytes);
	printf("\"}\n");
	memset(at(&vm, BUFFER), 0, 0x10000);
}

static void gives(char **args)
{
	int64_t n;

	(void)args;
	start_all();
	n = call(&vm, HCALL_SYS_RANDOM, BUFFER, 31, 0, 0);
	print_data("sys.random", n, n);
	n = call(&vm, HCALL_SYS_DEVICE, 0, BUFFER, 128, 0);
	print_data("sys.device", n, n);
	give_text("hello world");
	n = call(&vm, HCALL_CONSOLE_READ, 0, BUFFER, 4096, HCALL_NOWAIT);
	print_data("console.read", n, n);
	give_text("A");
	n = call(&vm, HCALL_CONSOLE_GETC, 0, HCALL_NOWAIT, 0, 0);
	print_data("console.getc", n, 0);
	n = call(&vm, HCALL_BLOCK_READ, 0, 5, BUFFER, 3);
	print_data("block.read", n, n * 512);
	give_keys(3);
	n = call(&vm, HCALL_INPUT_READ, 0, BUFFER, 64, HCALL_NOWAIT);
	print_data("input.read", n, n * 8);
	n = call(&vm, HCALL_INPUT_CONFIG, 0,
		 HCALL_INPUT_SELECT(HCALL_INPUT_NAME, 0), BUFFER, 5);
	print_data("input.config", n, 5);
	give_frame(60);
	n = call(&vm, HCALL_NET_RECV, 0, BUFFER, 1514, HCALL_NOWAIT);
	print_data("net.recv", n, n);
	give_frame(60);
	give_frame(60);
	set_frames(2);
	n = call(&vm, HCALL_NET_RECVV, 0, FRAMES, 2, HCALL_NOWAIT);
	memcpy(at(&vm, BUFFER), at(&vm, FRAME(0)), 60);
	memcpy(at(&vm, BUFFER + 60), at(&vm, FRAME(1)), 60);
	print_data("net.recvv", n, 120);

	/* Without data: nothing can be done to them. */
	CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE, 0, 5, RAM, 3), 3);
	CHECK_EQ(call(&vm, HCALL_BLOCK_FLUSH, 0, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_WRITE, 0, RAM, 5, 0), 5);
	CHECK_EQ(call(&vm, HCALL_NET_SEND, 0, RAM, 60, 0), 0);
	CHECK(call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0) > 0);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 1 << 20, BUFFER, 1),
		 -HCALL_ERANGE);
	CHECK_EQ(call(&vm, HCALL_CONSOLE_READ, 0, BUFFER, 1, HCALL_NOWAIT),
		 -HCALL_EAGAIN);
	CHECK_EQ(call(&vm, HCALL_INPUT_CONFIG, 0, 0xff00, BUFFER, 5), 0);
}

/* ---- counts ----------------------------------------------------------------------- */

static void count(const char *name, uint32_t nr, uint64_t a, uint64_t b,
		  uint64_t c, uint64_t d, int asked)
{
	printf("%s %d %lld\n", name, asked,
	       (long long)call(&vm, nr, a, b, c, d));
}

static void counts(char **args)
{
	struct hcall_input_event leds[4] = { { EV_LED, LED_NUML, 1 },
					     { EV_LED, LED_CAPSL, 1 },
					     { EV_LED, LED_SCROLLL, 1 },
					     { EV_SYN, SYN_REPORT, 0 } };
	struct hcall_op *op;

	(void)args;
	start_all();
	op = at(&vm, RAM);

	/* May do less. */
	count("console.write", HCALL_CONSOLE_WRITE, 0, BUFFER, 97, 0, 97);
	give_text("twelve bytes");
	count("console.read", HCALL_CONSOLE_READ, 0, BUFFER, 12, HCALL_NOWAIT,
	      12);
	count("block.read", HCALL_BLOCK_READ, 0, 7, BUFFER, 89, 89);
	count("block.write", HCALL_BLOCK_WRITE, 0, 7, BUFFER, 83, 83);
	count("block.discard", HCALL_BLOCK_DISCARD, 0, 128, 79, 0, 79);
	count("block.write_zeroes", HCALL_BLOCK_WRITE_ZEROES, 0, 256, 73, 0,
	      73);
	give_keys(5);
	count("input.read", HCALL_INPUT_READ, 0, BUFFER, 10, HCALL_NOWAIT, 10);
	memcpy(at(&vm, BUFFER), leds, sizeof(leds));
	count("input.write", HCALL_INPUT_WRITE, 0, BUFFER, 4, 0, 4);
	set_frames(7);
	count("net.sendv", HCALL_NET_SENDV, 0, FRAMES, 7, HCALL_NOWAIT, 7);
	for (int i = 0; i < 5; i++)
		give_frame(60);
	count("net.recvv", HCALL_NET_RECVV, 0, FRAMES, 5, HCALL_NOWAIT, 5);

	/* May not. */
	count("sys.random", HCALL_SYS_RANDOM, BUFFER, 31, 0, 0, 31);
	count("sys.device", HCALL_SYS_DEVICE, 0, BUFFER, 128, 0, 128);
	memset(op, 0, 3 * sizeof(*op));
	for (int i = 0; i < 3; i++)
		op[i].number = HCALL_TIMER_NOW;
	count("sys.batch", HCALL_SYS_BATCH, RAM, 3, 0, 0, 3);
	count("input.config", HCALL_INPUT_CONFIG, 0,
	      HCALL_INPUT_SELECT(HCALL_INPUT_NAME, 0), BUFFER, 10, 10);

	/* Nothing is less than one, and what is wrong stays wrong. */
	count("block.read", HCALL_BLOCK_READ, 0, 7, BUFFER, 1, 1);
	count("block.read", HCALL_BLOCK_READ, 0, 7, BUFFER, 0, -HCALL_EINVAL);
	count("block.read", HCALL_BLOCK_READ, 0, 0, BUFFER, 2049, -HCALL_E2BIG);
	count("block.read", HCALL_BLOCK_READ, 0, 2047, BUFFER, 2,
	      -HCALL_ERANGE);
	count("block.read", HCALL_BLOCK_READ, 0, ~0ull, BUFFER, 2,
	      -HCALL_ERANGE);
	count("block.read", HCALL_BLOCK_READ, 5, 7, BUFFER, 2, -HCALL_ENODEV);
	count("block.read", HCALL_BLOCK_READ, 1ull << 32, 7, BUFFER, 2,
	      -HCALL_ENODEV);
	count("block.write", HCALL_BLOCK_WRITE, 1, 7, BUFFER, 8, -HCALL_EROFS);
	count("console.write", HCALL_CONSOLE_WRITE, 0, BUFFER, 65537, 0,
	      -HCALL_E2BIG);
	count("input.read", HCALL_INPUT_READ, 0, BUFFER, 65, HCALL_NOWAIT,
	      -HCALL_E2BIG);
	count("net.sendv", HCALL_NET_SENDV, 0, FRAMES, 257, HCALL_NOWAIT,
	      -HCALL_E2BIG);
}

static void disk(char **args)
{
	start();
	CHECK_EQ(vm_disk(&vm, "large", args[0], 0), 0);
	count("block.read", HCALL_BLOCK_READ, 0, 8, BUFFER, 8, 8);
	count("block.read", HCALL_BLOCK_READ, 0, 8, BUFFER, 16, 16);
	count("block.read", HCALL_BLOCK_READ, 0, 8, BUFFER, 800, 800);
	count("block.read", HCALL_BLOCK_READ, 0, 8, BUFFER, 12, -HCALL_EINVAL);
	count("block.read", HCALL_BLOCK_READ, 0, 4, BUFFER, 16, -HCALL_EINVAL);
}

static const struct guest_command commands[] = {
	{ "gives", gives, 0 },
	{ "counts", counts, 0 },
	{ "disk", disk, 1 },
	{ 0 },
};

int main(int argc, char **argv)
{
	return guests_main(argc, argv, commands);
}
