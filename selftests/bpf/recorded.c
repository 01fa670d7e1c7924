// SPDX-License-Identifier: GPL-2.0
/*
 * Guests that hcallrec records and replays.  What a guest got, in registers and in
 * memory, is printed: it has to be the same the second time, when the devices are
 * others, or there are none.
 *
 * usage: recorded COMMAND [ARGS...], see the table at the end
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/input.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guests.h"

#define BUF	 (RAM + 0x1001) /* of no alignment */
#define OPS	 (RAM + 0x40000)
#define FRAMES	 (RAM + 0x48000) /* struct hcall_frame each */
#define FRAME(i) (RAM + 0x50003 + (i)*0x1000)
#define PAGE	 (RAM + 0x100000) /* struct hcall_event_page */
#define BIG	 (RAM + 0x200000)
#define TIMEOUT	 10 /* seconds */

static bool bare; /* the host gives nothing: all has to come from a recording */

/* ---- Devices ------------------------------------------------------------------------ */

static void add_all(const char *disk)
{
	add_devices();
	CHECK_EQ(vm_disk(&vm, "root", disk, 0), 0);
}

static void give(int to, const void *data, size_t bytes)
{
	if (!bare)
		NEED(write(to, data, bytes) == (ssize_t)bytes);
}

static void give_frame(int bytes)
{
	uint8_t frame[1500];

	memset(frame, bytes, sizeof(frame));
	give(to_net, frame, bytes);
}

/* ---- What the guest sees ------------------------------------------------------------ */

static uint64_t sum_of(uint64_t sum, const void *data, size_t bytes)
{
	const uint64_t *word = data;

	for (; bytes; bytes -= sizeof(*word))
		sum = (sum ^ *word++) * 0x100000001b3ull;
	return sum;
}

/*
 * A line with the result, and all of guest memory in a number; but for the pending
 * bits of the event page, which may change at any time.
 */
static int64_t says(const char *name, int64_t result)
{
	const uint8_t *masks =
		at(&vm, PAGE + offsetof(struct hcall_event_page, mask));
	uint64_t sum = sum_of(1, vm.ram, PAGE - RAM);

	sum = sum_of(sum, masks, vm.ram + RAM_BYTES - masks);
	sum = sum_of(sum, vm.ram2, RAM2_BYTES);
	sum = sum_of(sum, vm.tiles, TILES_NR * 4096);
	printf("%s %lld %llx\n", name, (long long)result,
	       (unsigned long long)sum);
	fflush(stdout);
	return result;
}

static int64_t make(const char *name, uint32_t nr, uint64_t a, uint64_t b,
		    uint64_t c, uint64_t d)
{
	return says(name, call(&vm, nr, a, b, c, d));
}

#define MAKE(what, ...) make(#what, HCALL_##what, __VA_ARGS__)

/* ---- every DISK|- : each function of the ABI --------------------------------------- */

static void sys_calls(void)
{
	MAKE(SYS_PROBE, HCALL_CLASS_BLOCK, 0, 0, 0);
	for (int i = 0; i < 5; i++)
		MAKE(SYS_DEVICE, i, BUF, i ? 128 : 64, 0);
	MAKE(VIRTIO_DEVICE, HCALL_VIRTIO_RNG, BUF, 64, 0);
	MAKE(VIRTIO_DEVICE, HCALL_VIRTIO_DEV(HCALL_CLASS_TIMER, 0), BUF, 64, 0);
	MAKE(SYS_RANDOM, BUF, 31, 0, 0);
	MAKE(SYS_RANDOM, BUF, HCALL_RANDOM_MAX_BYTES, 0, 0);
	MAKE(SYS_RANDOM, TILES + 4000, 4096, 0, 0);
	MAKE(SYS_RANDOM, HOLE, 5, 0, 0);
	make("unknown", HCALL_NR(2, 9), 1, 2, 3, 4);
	make("class", HCALL_NR(0xe5, 9), 1, 2, 3, 4);
}

static void console_calls(void)
{
	MAKE(CONSOLE_SIZE, 0, 0, 0, 0);
	MAKE(CONSOLE_WRITE, 0, BUF, 1000, 0);
	MAKE(CONSOLE_PUTC, 0, 'x', 0, 0);
	give(to_console, "some words", 10);
	MAKE(CONSOLE_GETC, 0, HCALL_NOWAIT, 0, 0);
	MAKE(CONSOLE_READ, 0, BUF, 4096, HCALL_NOWAIT);
	MAKE(CONSOLE_READ, 0, BUF, 4096, HCALL_NOWAIT);
}

static void block_calls(void)
{
	MAKE(BLOCK_READ, 0, 3, BUF, 5);
	MAKE(BLOCK_READ, 0, 0, BIG, HCALL_BLOCK_MAX_SECTORS);
	MAKE(BLOCK_READ, 0, 2048, RAM2 - 3000, 100);
	MAKE(BLOCK_READ, 0, 4096, TILES, TILES_NR * 8);
	MAKE(BLOCK_WRITE, 0, 3, BUF, 5);
	MAKE(BLOCK_WRITE_ZEROES, 0, 4, 1, 0);
	MAKE(BLOCK_DISCARD, 0, 128, 128, 0);
	MAKE(BLOCK_READ, 0, 0, BUF, 16);
	MAKE(BLOCK_FLUSH, 0, 0, 0, 0);
	MAKE(BLOCK_READ, 0, 1ull << 40, BUF, 1);
	MAKE(BLOCK_READ, 9, 0, BUF, 1);
	MAKE(BLOCK_READ, 0, 0, ROM, 1);
}

static void input_calls(void)
{
	struct hcall_input_event *event = at(&vm, OPS);

	MAKE(INPUT_READ, 0, BUF, 8, HCALL_NOWAIT);
	for (int i = 0; i < 5; i++) {
		struct hcall_input_event key = { EV_KEY, 1 + i, 1 };

		give(to_input, &key, sizeof(key));
	}
	MAKE(INPUT_READ, 0, BUF, 3, HCALL_NOWAIT);
	MAKE(INPUT_READ, 0, BUF, 8, HCALL_NOWAIT);
	*event = (struct hcall_input_event){ EV_LED, LED_NUML, 1 };
	MAKE(INPUT_WRITE, 0, OPS, 1, 0);
	MAKE(INPUT_CONFIG, 0, HCALL_INPUT_SELECT(HCALL_INPUT_NAME, 0), BUF, 4);
	MAKE(INPUT_CONFIG, 0, HCALL_INPUT_SELECT(HCALL_INPUT_NAME, 0), BUF, 99);
	MAKE(INPUT_CONFIG, 0, HCALL_INPUT_SELECT(HCALL_INPUT_CODES, EV_KEY),
	     BUF, 8);
	MAKE(INPUT_CONFIG, 0, HCALL_INPUT_SELECT(HCALL_INPUT_SERIAL, 0), BUF,
	     8);
}

static void net_calls(void)
{
	struct hcall_frame *frame = at(&vm, FRAMES);

	MAKE(NET_LINK, 0, 0, 0, 0);
	MAKE(NET_FEATURES, 0, 0, 0, 0);
	MAKE(NET_RECV, 0, BUF, 1514, HCALL_NOWAIT);
	give_frame(60);
	MAKE(NET_RECV, 0, BUF, 1514, HCALL_NOWAIT);
	give_frame(61);
	MAKE(NET_RECV, 0, BUF, 40, HCALL_NOWAIT);
	for (int i = 0; i < 6; i++) {
		give_frame(100 + i);
		frame[i] = (struct hcall_frame){ FRAME(i), 200, 0 };
	}
	frame[2].bytes = 103; /* just enough: the first was 61 bytes long */
	MAKE(NET_RECVV, 0, FRAMES, 6, HCALL_NOWAIT);
	MAKE(NET_RECVV, 0, FRAMES, 6, HCALL_NOWAIT);
	MAKE(NET_SEND, 0, BUF, 60, 0);
	for (int i = 0; i < 6; i++)
		frame[i].bytes = 60 + i;
	MAKE(NET_SENDV, 0, FRAMES, 6, 0);
}

/* In a batch, in an asynchronous one, and in 32-bit mode. */
static void doors(void)
{
	struct hcall_op *op = at(&vm, OPS);
	static const struct hcall_op ops[] = {
		{ .number = HCALL_SYS_RANDOM, .args = { BUF, 77 } },
		{ .number = HCALL_BLOCK_READ,
		  .flags = HCALL_OP_LINK,
		  .args = { 0, 7, BIG, 300 } },
		{ .number = HCALL_TIMER_NOW, .args = { HCALL_CLOCK_REALTIME } },
		{ .number = HCALL_BLOCK_READ,
		  .flags = HCALL_OP_LINK,
		  .args = { 7, 7, BIG, 300 } },
		{ .number = HCALL_TIMER_NOW }, /* cancelled */
		{ .number = HCALL_TIMER_NOW, .flags = 1u << 17 },
		{ .number = HCALL_CONSOLE_PUTC, .args = { 0, 'y' } },
		{ .number = HCALL_EVENT_WAIT },
		{ .number = 5 },
	};
	const int n = sizeof(ops) / sizeof(*ops);

	memcpy(op, ops, sizeof(ops));
	MAKE(SYS_BATCH, OPS, n, 0, 0);
	MAKE(SYS_BATCH, OPS, 0, 0, 0);
	op[0].flags = 99;
	MAKE(SYS_BATCH, OPS, 1, 0, 0); /* without an element that is a call */
	memcpy(op, ops, sizeof(ops));
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, OPS, n, HCALL_BATCH_ASYNC, 900), n);
	CHECK(channel_fires(&vm, 900));
	says("async", 0);
	vcpu_mode(&vm.vcpu[0], MODE_32);
	MAKE(TIMER_NOW, HCALL_CLOCK_REALTIME, ~0ull, 0, 0);
	MAKE(SYS_RANDOM, BUF, 5, 0, 0);
	vcpu_mode(&vm.vcpu[0], MODE_64);
}

/* The guest sees a bit in its page, and clears it; no call tells of that. */
static void take_bit(uint32_t channel)
{
	struct hcall_event_page *page = at(&vm, PAGE);
	uint32_t bit = 1u << channel % 32, *word = &page->pending[channel / 32];
	uint64_t end = now_ns() + TIMEOUT * 1000000000ull;

	while (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit))
		NEED(now_ns() < end);
	__atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
}

static void event_calls(void)
{
	int64_t now;

	MAKE(TIMER_NOW, HCALL_CLOCK_REALTIME, 0, 0, 0);
	MAKE(TIMER_NOW, HCALL_CLOCK_TAI, 0, 0, 0);
	MAKE(TIMER_NOW, 77, 0, 0, 0);
	while (channel_take(&vm, 900) ||
	       call(&vm, HCALL_EVENT_NEXT, 0, 0, 0, 0) >= 0)
		;
	MAKE(EVENT_RAISE, 700, 0, 0, 0);
	MAKE(EVENT_PAGE, PAGE, 0, 0, 0);
	MAKE(EVENT_MASK, 701, 1, 0, 0);
	MAKE(EVENT_RAISE, 701, 0, 0, 0);
	MAKE(EVENT_ROUTE, 702, 0, 0, 0);
	MAKE(EVENT_NEXT, 0, 0, 0, 0);
	MAKE(EVENT_MASK, 701, 0, 0, 0);
	take_bit(701);
	/* One that comes while the guest runs. */
	if (!bare)
		CHECK_EQ(host_raise(&vm, 800), 0);
	take_bit(800);
	now = MAKE(TIMER_NOW, HCALL_CLOCK_MONOTONIC, 0, 0, 0);
	MAKE(TIMER_ARM, 3, now + 5000000, 0, HCALL_CLOCK_MONOTONIC);
	MAKE(EVENT_WAIT, 0, 0, 0, 0);
	take_bit(3);
	MAKE(TIMER_EXPIRED, 3, 0, 0, 0);
	MAKE(TIMER_CANCEL, 3, 0, 0, 0);
	now = MAKE(TIMER_NOW, HCALL_CLOCK_MONOTONIC, 0, 0, 0);
	/* By a clock that is another one each time. */
	call(&vm, HCALL_EVENT_WAIT, now_ns() + 5000000, HCALL_WAIT_DEADLINE, 0,
	     0);
	says("EVENT_WAIT", 0);
	/* An asynchronous batch tells by the page. */
	*(struct hcall_op *)at(&vm, OPS) =
		(struct hcall_op){ .number = HCALL_SYS_RANDOM,
				   .args = { BUF, 99 } };
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, OPS, 1, HCALL_BATCH_ASYNC, 901), 1);
	take_bit(901);
	says("page", 0);
	MAKE(EVENT_PAGE, HCALL_NO_PAGE, 0, 0, 0);
}

static void every(char **args)
{
	bare = !strcmp(args[0], "-");
	start();
	if (!bare)
		add_all(args[0]);
	sys_calls();
	console_calls();
	block_calls();
	input_calls();
	net_calls();
	doors();
	event_calls();
	/* The launcher sees it. */
	call_set(&vm.vcpu[0], HCALL_SYS_EXIT, HCALL_EXIT_PANIC, 42, 0, 0);
	CHECK_EQ(call_run(&vm.vcpu[0]), INT64_MIN);
	CHECK_EQ(vm.vcpu[0].run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	printf("ends %u %llu\n", vm.vcpu[0].run->system_event.type,
	       vm.vcpu[0].run->system_event.data[0]);
}

/* ---- others -------------------------------------------------------------------------- */

/* reads DISK|- SECTORS: all of it, 1 MiB a call. */
static void reads(char **args)
{
	uint64_t sectors = number(args[1]);

	start();
	if (strcmp(args[0], "-"))
		vm_disk(&vm, "root", args[0], 0);
	for (uint64_t i = 0; i < sectors; i += 2048)
		CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, i, BIG, 2048), 2048);
	says("reads", 0);
}

/* vector N: a RECVV of N frames of 1500 bytes, of a pipe or of a recording. */
static void vector(char **args)
{
	struct hcall_frame *frame;
	int n = number(args[1]);

	bare = !strcmp(args[0], "-");
	start();
	if (!bare)
		add_all(args[0]);
	frame = at(&vm, FRAMES);
	for (int i = 0; i < n; i++) {
		uint8_t data[1500];

		for (int j = 0; j < 1500; j++)
			data[j] = rand();
		if (!bare && i == 0)
			NEED(fcntl(to_net, F_SETPIPE_SZ, 1 << 20) > 0);
		give(to_net, data, sizeof(data));
		frame[i] = (struct hcall_frame){ BIG + i * 1501, 1501, 0 };
	}
	MAKE(NET_RECVV, 0, FRAMES, n, HCALL_NOWAIT);
}

/* nows N [AT]: so many NOW; number AT asks for another clock. */
static void nows(char **args)
{
	uint64_t n = number(args[0]), other = number(args[1]), sum = 0;

	start();
	for (uint64_t i = 1; i <= n; i++)
		sum += call(&vm, HCALL_TIMER_NOW, i == other, 0, 0, 0);
	printf("sum %llx\n", (unsigned long long)sum);
}

/* unused N: what a call does not use is N. */
static void unused(char **args)
{
	uint64_t n = number(args[0]);

	start();
	says("now", call(&vm, HCALL_TIMER_NOW, 0, n, n, n));
	says("random", call(&vm, HCALL_SYS_RANDOM, BUF, 9, n, n));
}

/* batch N: one of N NOW and a RANDOM. */
static void batch(char **args)
{
	uint64_t n = number(args[0]);
	struct hcall_op *op;

	start();
	op = at(&vm, OPS);
	for (uint64_t i = 0; i < n; i++)
		op[i].number = HCALL_TIMER_NOW;
	MAKE(SYS_BATCH, OPS, n, 0, 0);
	MAKE(SYS_RANDOM, BUF, 5, 0, 0);
}

static volatile bool stop;

static void *interrupt(void *arg)
{
	while (!stop) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		usleep(500);
	}
	return NULL;
}

/* signals WITH N: batches of 250 RANDOM, WITH signals or without, N times. */
static void signals(char **args)
{
	bool with = number(args[0]);
	uint64_t n = number(args[1]), shorts = 0;
	pthread_t self = pthread_self(), thread;

	harmless(SIGUSR1);
	start();
	if (with)
		NEED(!pthread_create(&thread, NULL, interrupt, &self));
	while (n--) {
		struct hcall_op *op = at(&vm, OPS);
		int64_t done = 0, ret;

		for (int i = 0; i < 250; i++)
			op[i] = (struct hcall_op){ .number = HCALL_SYS_RANDOM,
						   .args = { BUF + i * 16,
							     16 } };
		while (done < 250) {
			ret = call(&vm, HCALL_SYS_BATCH, OPS + done * 64,
				   250 - done, 0, 0);
			if (ret == -HCALL_EINTR)
				continue;
			CHECK(ret > 0);
			done += ret;
			shorts += done < 250;
		}
	}
	stop = true;
	if (with)
		NEED(!pthread_join(thread, NULL));
	says("signals", 0);
	fprintf(stderr, "shorts=%llu\n", (unsigned long long)shorts);
}

static uint64_t smp_calls;

static void *smp_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	int i = vcpu - vm.vcpu;
	uint64_t sum = 1;

	for (uint64_t n = 0; n < smp_calls + i; n++) {
		call_set(vcpu, HCALL_SYS_RANDOM, BUF + i * 0x10000, 64 + i, 0,
			 0);
		if (call_run(vcpu) != 64 + i)
			return NULL;
		sum = sum_of(sum, at(&vm, RAM + 0x1000 + i * 0x10000), 64);
	}
	vcpu->result = sum;
	return NULL;
}

/* smp N: four vCPUs at once make some more than N calls. */
static void smp(char **args)
{
	smp_calls = number(args[0]);
	start();
	for (int i = 0; i < MAX_VCPUS; i++)
		NEED(!pthread_create(&vm.vcpu[i].thread, NULL, smp_thread,
				     &vm.vcpu[i]));
	for (int i = 0; i < MAX_VCPUS; i++) {
		NEED(!pthread_join(vm.vcpu[i].thread, NULL));
		printf("vcpu %d %llx\n", i,
		       (unsigned long long)vm.vcpu[i].result);
	}
}

/* less RAM2: data that goes to RAM2, which is there or not. */
static void less(char **args)
{
	start();
	if (!number(args[0]))
		vm_slot(&vm, 2, RAM2, vm.ram2, 0, 0);
	printf("random %lld\n",
	       (long long)call(&vm, HCALL_SYS_RANDOM, RAM2, 9, 0, 0));
}

/* forward ANSWER: a call and a ROUTE that go to the launcher. */
static void forward(char **args)
{
	int64_t answer = number(args[0]);

	start();
	CHECK_EQ(vm_policy(&vm, 0xf0, KVM_HCALL_FORWARD, 1), 0);
	printf("%lld\n", (long long)call_forwarded(HCALL_NR(0xf0, 1), 5, 6, 7,
						   8, answer));
	printf("%lld\n", (long long)call_forwarded(HCALL_EVENT_ROUTE, 700, 0,
						   40, 0, answer));
	says("now", call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0));
}

/* pending N: N asynchronous batches at once, of which some are refused, as the first take long. */
static void pending(char **args)
{
	uint64_t n = number(args[0]), end;
	const int count = 100;
	int64_t ret;

	start();
	for (uint64_t i = 0; i < n; i++) {
		struct hcall_op *op = at(&vm, RAM + i * count * sizeof(*op));

		for (int j = 0; j < count; j++)
			op[j] = i < 4 ? (struct
					 hcall_op){ .number = HCALL_SYS_RANDOM,
						    .args = { RAM2, 4096 } }
				      : (struct hcall_op){
						.number = HCALL_TIMER_NOW
					};
		ret = call(&vm, HCALL_SYS_BATCH, RAM + i * count * sizeof(*op),
			   count, HCALL_BATCH_ASYNC, 900);
		printf("%lld\n", (long long)ret);
		if (ret < 0)
			op[count - 1].flags = HCALL_OP_DONE;
	}
	end = now_ns() + TIMEOUT * 1000000000ull;
	for (uint64_t i = 1; i <= n; i++) {
		struct hcall_op *op = at(&vm, RAM + i * count * sizeof(*op));

		while (!(__atomic_load_n(&op[-1].flags, __ATOMIC_SEQ_CST) &
			 HCALL_OP_DONE))
			NEED(now_ns() < end);
	}
	says("pending", 0);
}

/* queues FUNCTION: of class virtio, after two calls that can be recorded. */
static void queues(char **args)
{
	uint32_t nr = HCALL_NR(HCALL_CLASS_VIRTIO, number(args[0]));

	start();
	says("now", call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0));
	says("device",
	     call(&vm, HCALL_VIRTIO_DEVICE, HCALL_VIRTIO_RNG, BUF, 64, 0));
	says("virtio", call(&vm, nr, HCALL_VIRTIO_RNG, BUF, 64, 0));
	says("now", call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0));
}

/* forever: NOW, until somebody ends it. */
static void forever(char **args)
{
	(void)args;
	start();
	printf("ready\n");
	fflush(stdout);
	for (;;)
		call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0);
}

/* twice N: two VMs, one after the other, with N and N + 1 calls. */
static void twice(char **args)
{
	uint64_t n = number(args[0]);

	for (int i = 0; i < 2; i++) {
		start();
		for (uint64_t j = 0; j < n + i; j++)
			says("now", call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0));
		vm_free(&vm);
	}
}

static const struct guest_command commands[] = {
	{ "every", every, 1 },
	{ "reads", reads, 2 },
	{ "vector", vector, 2 },
	{ "nows", nows, 2 },
	{ "unused", unused, 1 },
	{ "batch", batch, 1 },
	{ "signals", signals, 2 },
	{ "smp", smp, 1 },
	{ "less", less, 1 },
	{ "forward", forward, 1 },
	{ "forever", forever, 0 },
	{ "twice", twice, 1 },
	{ "pending", pending, 1 },
	{ "queues", queues, 1 },
	{ 0 },
};

int main(int argc, char **argv)
{
	return guests_main(argc, argv, commands);
}
